/** Errors out of whatever was thrown. */
import test from 'ava';
import {
  isLastingRefusal,
  isMismatch,
  isOffence,
  MeshError,
  wasNeverAccepted,
} from '../src/errors.js';

test('some verdicts go by the side that closed as well', (t) => {
  const local = (code: MeshError['code']) => new MeshError(code, '');
  const remote = (code: MeshError['code']) => new MeshError(code, '', { side: 'remote' });
  t.true(isOffence(local('HandshakeRepeated')));
  t.false(isOffence(remote('HandshakeRepeated')));
  t.true(wasNeverAccepted(remote('ClusterMismatch')));
  t.false(wasNeverAccepted(local('ClusterMismatch')));
  t.false(wasNeverAccepted(remote('GoingAway')));
  t.true(isMismatch(local('CertificateNameMismatch')));
  t.false(isMismatch(remote('CertificateNameMismatch')));
  t.true(isLastingRefusal(remote('CertificateNameMismatch')));
  t.false(isLastingRefusal(remote('NodeIdMismatch')));
  t.false(isLastingRefusal(remote('Overloaded')));
  t.false(isLastingRefusal(local('ClusterMismatch')));
});
