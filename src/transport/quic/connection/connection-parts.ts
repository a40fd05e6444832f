/** Creates the parts that one QUIC connection is made of, and wires them to each other. */
import type { MeshError } from '../../../errors.js';
import type { ConnectionCounters, PathEvent, PeerIdentity } from '../../connection.js';
import { readerOf } from '../../reading-turns.js';
import type { NativeConnection } from '../binding/native.js';
import { PeerGuards } from '../guards/peer-guards.js';
import { DatagramSize } from '../paths/datagram-size.js';
import { ConnectionPaths } from '../paths/paths.js';
import { QuicStreams } from '../streams/streams.js';
import type { ConnectionHost, QuicConnectionOptions } from './connection-host.js';
import { DatagramPump } from './datagram-pump.js';
import { activePath, LossTimer } from './loss-timer.js';
import { ReplacementCheck } from './replacement-check.js';
import { RestartWindow } from './restart-window.js';
import { SendPacer } from './send-pacer.js';

/** What the parts ask of their connection. */
export interface PartsOwner {
  readonly counters: ConnectionCounters;
  readonly isOpen: () => boolean;
  /** Whether streams may be used: the connection is open, or has early data. */
  readonly isReady: () => boolean;
  readonly isEarly: () => boolean;
  readonly isOver: () => boolean;
  readonly peerIdentity: () => PeerIdentity;
  /** Runs a step of a stream. What it throws ends the connection. */
  readonly guard: (step: () => void) => void;
  /** The wait of the loss timer is over. */
  readonly timedOut: () => void;
  readonly flush: () => void;
  /** The native connection refused to go on. */
  readonly nativeFailed: (thrown: unknown) => void;
  readonly fail: (error: MeshError) => void;
  /** Ends the connection and forgets it at once, with all that its peer filled it with. */
  readonly abandon: (error: MeshError) => void;
  readonly emit: (event: PathEvent) => void;
  readonly goAwayArrived: () => void;
}

/** The parts of one connection. They live as long as it does. */
export class ConnectionParts {
  readonly timer: LossTimer;
  readonly paths: ConnectionPaths;
  readonly streams: QuicStreams;
  readonly guards: PeerGuards;
  readonly size: DatagramSize;
  readonly pump: DatagramPump;
  readonly replacement: ReplacementCheck;
  readonly #restartWindow: RestartWindow;
  readonly #native: NativeConnection;
  readonly #datagramLimits: QuicConnectionOptions['datagramLimits'];
  readonly #host: ConnectionHost;

  constructor(options: QuicConnectionOptions, owner: PartsOwner) {
    const { native, host, limits, idleTimeoutMs, guard } = options;
    this.#datagramLimits = options.datagramLimits;
    this.#host = host;
    this.timer = new LossTimer(native, idleTimeoutMs, host.alarms, owner.timedOut);
    this.paths = this.#createPaths(options, owner);
    this.streams = this.#createStreams(options, owner);
    const { paths, streams } = this;
    this.guards = new PeerGuards({
      native,
      streams,
      counters: host.counters,
      maxWaitingBytes: limits.maxConnectionWindowBytes,
      end: owner.abandon,
    });
    this.size = this.#createSize(options, owner);
    const { guards, size } = this;
    const failed = owner.nativeFailed;
    const pacer = options.isPaced ? new SendPacer() : undefined;
    const sending = { native, host, paths, streams, guards, size, pacer, failed };
    this.pump = new DatagramPump(sending, guard);
    this.replacement = new ReplacementCheck({ native, paths, pump: this.pump });
    this.#restartWindow = new RestartWindow(options.initialWindowBytes);
    this.#native = native;
  }

  /** The binding is about to get a datagram of an open connection, which may acknowledge what was sent. */
  arrives(): void {
    if (this.#restartWindow.arrives()) this.lookAtWindow();
    if (this.#restartWindow.takeClaim(this.streams.writer.handedBytes)) this.pump.claimWindow();
  }

  /** Something may have been lost, and have made the congestion window smaller. */
  lookAtWindow(): void {
    const path = activePath(this.#native);
    if (path === undefined) return;
    const { cwnd: windowBytes, pmtu: unitBytes, sent, lost } = path;
    this.#restartWindow.look({ windowBytes, unitBytes, sent, lost });
  }

  /** Begins anew to look for the largest datagram: the peer's address has changed. */
  restartSize(): void {
    const { remoteAddress, localAddress } = this.paths;
    this.size.restart(this.#datagramLimits(remoteAddress, localAddress));
  }

  #createPaths(
    { native, host, role, remoteAddress, migration }: QuicConnectionOptions,
    owner: PartsOwner,
  ): ConnectionPaths {
    return new ConnectionPaths({
      native,
      role,
      remoteAddress,
      migration,
      host: {
        socket: host.socket,
        counters: host.counters,
        routes: host,
        openSocket: (address) => host.openSocket(address),
        closeSocket: (socket) => host.closeSocket(socket),
        isListening: (socket) => host.isListening(socket),
        isOpen: owner.isOpen,
        flushSoon: () => host.flushSoon(),
        arrivalChanged: () => host.arrivalChanged(),
        askForProof: (nonce) => this.streams.control.askForProof(nonce),
        emit: (event) => {
          if (event.kind === 'migrated') this.#pathChanged();
          owner.emit(event);
        },
      },
    });
  }

  /** What was learned of the old path is void. */
  #pathChanged(): void {
    this.timer.restart();
    this.pump.pathChanged();
    this.restartSize();
    this.#host.arrivalChanged();
  }

  #createStreams(
    { native, host, role, limits }: QuicConnectionOptions,
    owner: PartsOwner,
  ): QuicStreams {
    return new QuicStreams({
      native,
      role,
      limits,
      counters: owner.counters,
      readBuffer: host.readBuffer,
      share: () => host.turns.join(readerOf(owner.peerIdentity())),
      rates: () => host.rates.of(readerOf(owner.peerIdentity())),
      frameMemory: host.frameMemory,
      host: {
        isReady: owner.isReady,
        isEarly: owner.isEarly,
        isOver: owner.isOver,
        flushSoon: () => host.flushSoon(),
        guard: owner.guard,
        proofArrived: (nonce) => {
          this.size.proofArrived(nonce);
          this.guards.proofArrived(nonce);
          this.paths.proofArrived(nonce);
        },
        goAwayArrived: owner.goAwayArrived,
      },
    });
  }

  #createSize({ native, host }: QuicConnectionOptions, owner: PartsOwner): DatagramSize {
    const { remoteAddress, localAddress } = this.paths;
    const { streams, timer } = this;
    return new DatagramSize(native, this.#datagramLimits(remoteAddress, localAddress), {
      counters: host.counters,
      alarms: host.alarms,
      sendNext: (maxBytes) => this.pump.sendNext(maxBytes),
      datagramsSent: () => this.pump.datagramsSent,
      lostPackets: timer.lostPackets,
      patienceMs: () => timer.patienceMs,
      flush: owner.flush,
      holdBack: () => streams.writer.handUpTo(streams.writer.handedBytes),
      askForProof: (nonce) => streams.control.askForProof(nonce),
      answerProof: (nonce) => streams.control.answerProof(nonce),
      credit: (bytes) => {
        streams.reader.readBytes += bytes;
      },
      emit: owner.emit,
      fail: owner.fail,
    });
  }
}
