/** Apart from what loads the binding: a user's compiler reads this type, and must not need the binding's own types for it. */

/** The congestion control algorithms of quiche. */
export type CongestionControl = 'cubic' | 'reno' | 'bbr';
