// A throw-away authority for mutual TLS on loopback: certificates for servers and clients with the names a test asks for.
// Everything stays in memory; a test that needs files writes them itself.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import forge from 'node-forge'

const validDays = 30

/** PEM texts that belong together. */
export interface Certified {
  readonly cert: Buffer
  readonly key: Buffer
}

export interface Authority {
  readonly ca: Buffer
  /** `URI:` before a name makes it a URI, else it is a DNS name. */
  issue(names: readonly string[], usage: 'server' | 'client'): Certified
}

function newKeys() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
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

/** Makes one. */
export function createAuthority(): Authority {
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
    issue(names, usage) {
      // The common name is one that a careless reader would trust.
      const leaf = newCertificate('edge.trusted.example', leafKeys.publicKey)
      leaf.setIssuer(root.subject.attributes)
      const altNames = names.map(name =>
        name.startsWith('URI:') ? { type: 6, value: name.slice('URI:'.length) } : { type: 2, value: name },
      )
      leaf.setExtensions([
        ...(altNames.length === 0 ? [] : [{ name: 'subjectAltName', altNames }]),
        { name: 'extKeyUsage', serverAuth: usage === 'server', clientAuth: usage === 'client' },
        { name: 'subjectKeyIdentifier' },
      ])
      leaf.sign(rootKeys.key, forge.md.sha256.create())
      return { cert: Buffer.from(forge.pki.certificateToPem(leaf)), key: Buffer.from(leafKeys.pem) }
    },
  }
}
