// A throw-away certificate authority for loopback TLS: one root, and one certificate for given DNS names, good at either end.
// For the demo and tests only; the private key is written 0600 into a directory the caller owns and removes.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import forge from 'node-forge'

const VALID_DAYS = 30
const RSA_BITS = 2048

export interface IssuedCertificate {
  /** PEM files: the server's certificate, its private key, and the root for its clients. */
  readonly certificateFile: string
  readonly keyFile: string
  readonly caFile: string
}

function newKeys() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: RSA_BITS })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const key = forge.pki.privateKeyFromPem(pem)
  return { pem, key, publicKey: forge.pki.setRsaPublicKey(key.n, key.e) }
}

function newCertificate(commonName: string, publicKey: forge.pki.PublicKey) {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = publicKey
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`
  certificate.validity.notBefore = new Date(Date.now() - 60_000)
  certificate.validity.notAfter = new Date(Date.now() + VALID_DAYS * 86_400_000)
  certificate.setSubject([{ name: 'commonName', value: commonName }])
  return certificate
}

/** Makes a root and one server certificate for `dnsNames`; writes `ca.pem`, `server.pem` and `server.key` into `directory`. */
export function issueCertificate(directory: string, dnsNames: readonly string[]): IssuedCertificate {
  const rootKeys = newKeys()
  const root = newCertificate('Gatewarden throw-away root', rootKeys.publicKey)
  root.setIssuer(root.subject.attributes)
  root.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ])
  root.sign(rootKeys.key, forge.md.sha256.create())

  const leafKeys = newKeys()
  const leaf = newCertificate(dnsNames[0] ?? 'localhost', leafKeys.publicKey)
  leaf.setIssuer(root.subject.attributes)
  leaf.setExtensions([
    { name: 'subjectAltName', altNames: dnsNames.map(value => ({ type: 2, value })) },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: root.generateSubjectKeyIdentifier().getBytes() },
  ])
  leaf.sign(rootKeys.key, forge.md.sha256.create())

  const caFile = join(directory, 'ca.pem')
  const certificateFile = join(directory, 'server.pem')
  const keyFile = join(directory, 'server.key')
  writeFileSync(caFile, forge.pki.certificateToPem(root))
  writeFileSync(certificateFile, forge.pki.certificateToPem(leaf))
  writeFileSync(keyFile, leafKeys.pem, { mode: 0o600 })
  return { certificateFile, keyFile, caFile }
}
