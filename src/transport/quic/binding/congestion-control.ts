/** Apart from what loads the binding: a user's compiler reads this type, and must not need the binding's own types for it. */

/** The congestion control algorithms of quiche. */
export type CongestionControl = 'cubic' | 'reno' | 'bbr';

/**
 * What a connection may have in flight before its first acknowledgement, in bytes. quiche 0.18.0 derives all else from it: the
 * smallest window is a fifth of it, and without loss the window grows by a tenth of it a round trip. RFC 9002, section 7.2, has
 * 14,720 bytes for one flow; this is that of four, and the window grows as that of four does (MulTCP). A call is a packet of its
 * own, so that a window of few packets makes calls wait for each other after a few losses.
 */
export const DEFAULT_INITIAL_WINDOW_BYTES = 54_000;
export const MIN_INITIAL_WINDOW_BYTES = 12_000;
/** Ten of the largest UDP payload. */
export const MAX_INITIAL_WINDOW_BYTES = 655_270;
/** Units of the congestion window in the initial one, in quiche 0.18.0. */
export const INITIAL_WINDOW_UNITS = 10;
