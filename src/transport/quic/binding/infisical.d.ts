/** The fork is an optional peer: its own types are there only where it is installed. Its native interface is the same. */
declare module '@infisical/quic/dist/native/index.js' {
  import type { Quiche } from '@matrixai/quic/native/index.js';

  const native: { readonly quiche: Quiche };
  export default native;
}
