// A throw-away certificate authority for loopback TLS, for the demo and tests only: one root, and certificates for the names
// asked for. Keys stay in memory; `issueCertificate` writes them 0600 into a directory that the caller owns and removes.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import forge from 'node-forge'

const validDays = 30
const rsaBits = 2048

type Usage = 'server' | 'client'

/** PEM texts that belong together. */
export interface Certified {
  readonly cert: Buffer
  readonly key: Buffer
}

export interface Authority {
  readonly ca: Buffer
  /** `URI:` before a name makes it a URI, else it is a DNS name. */
  issue(names: readonly string[], ...usages: readonly Usage[]): Certified
}

export interface IssuedCertificate {
  /** PEM files: the server's certificate, its private key, and the root for its clients. */
  readonly certificateFile: string
  readonly keyFile: string
  readonly caFile: string
}

function newKeys() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: rsaBits })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const key = forge.pki.privateKeyFromPem(pem)
  return { pem, key, publicKey: forge.pki.setRsaPublicKey(key.n, key.e) }
}

function newCertificate(commonName: string, publicKey: forge.pki.PublicKey) {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = publicKey
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`
  certificate.validity.notBefore = new Date(Date.now() - 60_000)
  certificate.validity.notAfter = new Date(Date.now() + validDays * 86_400_000)
  certificate.setSubject([{ name: 'commonName', value: commonName }])
  return certificate
}

/** Makes one. All its certificates share one key pair and the common name, which no reader should go by. */
export function createAuthority(commonName = 'localhost'): Authority {
  const rootKeys = newKeys()
  const leafKeys = newKeys()
  const root = newCertificate('Gatewarden throw-away root', rootKeys.publicKey)
  root.setIssuer(root.subject.attributes)
  root.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ])
  root.sign(rootKeys.key, forge.md.sha256.create())
  return {
    ca: Buffer.from(forge.pki.certificateToPem(root)),
    issue(names, ...usages) {
      const leaf = newCertificate(commonName, leafKeys.publicKey)
      leaf.setIssuer(root.subject.attributes)
      const altNames = names.map(name =>
        name.startsWith('URI:') ? { type: 6, value: name.slice('URI:'.length) } : { type: 2, value: name },
      )
      leaf.setExtensions([
        ...(altNames.length === 0 ? [] : [{ name: 'subjectAltName', altNames }]),
        { name: 'extKeyUsage', serverAuth: usages.includes('server'), clientAuth: usages.includes('client') },
        { name: 'subjectKeyIdentifier' },
        { name: 'authorityKeyIdentifier', keyIdentifier: root.generateSubjectKeyIdentifier().getBytes() },
      ])
      leaf.sign(rootKeys.key, forge.md.sha256.create())
      return { cert: Buffer.from(forge.pki.certificateToPem(leaf)), key: Buffer.from(leafKeys.pem) }
    },
  }
}

/** An authority's one certificate for `dnsNames`, good at either end: `ca.pem`, `server.pem` and `server.key` in `directory`. */
export function issueCertificate(directory: string, dnsNames: readonly string[]): IssuedCertificate {
  const authority = createAuthority()
  const { cert, key } = authority.issue(dnsNames, 'server', 'client')
  const caFile = join(directory, 'ca.pem')
  const certificateFile = join(directory, 'server.pem')
  const keyFile = join(directory, 'server.key')
  writeFileSync(caFile, authority.ca)
  writeFileSync(certificateFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  return { certificateFile, keyFile, caFile }
}
