/** Where the command writes for people: lines that stay, and on a terminal a region below them that is redrawn. */
import type { WriteStream } from 'node:tty';

/** Marks a text, or leaves it as it is where colours are not wanted. */
export type Mark = (text: string) => string;

export interface Style {
  readonly bold: Mark;
  readonly dim: Mark;
  readonly green: Mark;
  readonly red: Mark;
  readonly cyan: Mark;
}

const ESCAPE = '\u001b[';
const CLEAR_BELOW = `${ESCAPE}0J`;
const HIDE_CURSOR = `${ESCAPE}?25l`;
const SHOW_CURSOR = `${ESCAPE}?25h`;

export class Screen {
  readonly style: Style;
  /** Whether there is a terminal that {@link redraw} can draw on. */
  readonly isLive: boolean;
  readonly #out: WriteStream;
  #drawnRows = 0;

  constructor(out: WriteStream) {
    this.#out = out;
    this.isLive = out.isTTY === true && process.env.TERM !== 'dumb';
    const colored = this.isLive && !process.env.NO_COLOR;
    const sgr = (on: number, off: number): Mark =>
      colored ? (text) => `${ESCAPE}${on}m${text}${ESCAPE}${off}m` : (text) => text;
    this.style = {
      bold: sgr(1, 22),
      dim: sgr(2, 22),
      green: sgr(32, 39),
      red: sgr(31, 39),
      cyan: sgr(36, 39),
    };
  }

  /** Rows that a region can have without scrolling away. */
  get rows(): number {
    return Math.max(8, (this.#out.rows ?? 24) - 1);
  }

  get columns(): number {
    return Math.max(40, this.#out.columns ?? 80);
  }

  /** Writes lines that stay, in place of the region unless it was told to stay as well. */
  print(...lines: readonly string[]): void {
    const text = `${lines.join('\n')}\n`;
    if (this.#drawnRows === 0) this.#out.write(text);
    else this.#out.write(`${ESCAPE}${this.#drawnRows}A\r${CLEAR_BELOW}${SHOW_CURSOR}${text}`);
    this.#drawnRows = 0;
  }

  /** Draws the region anew. Does nothing where there is no terminal. */
  redraw(lines: readonly string[]): void {
    if (!this.isLive) return;
    const back = this.#drawnRows === 0 ? HIDE_CURSOR : `${ESCAPE}${this.#drawnRows}A`;
    this.#out.write(`${back}\r${CLEAR_BELOW}${lines.join('\n')}\n`);
    this.#drawnRows = lines.length;
  }

  /** Lets the region stay as it is: what follows is written below it. */
  keep(): void {
    if (this.#drawnRows === 0) return;
    this.#drawnRows = 0;
    this.#out.write(SHOW_CURSOR);
  }
}
