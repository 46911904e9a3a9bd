// Reads a file of PEM certificates and says in words what is wrong with it: TLS itself takes a file without any for an empty list
// and then refuses everybody.
import { X509Certificate } from 'node:crypto'
import { FileTooLong, readBounded } from './read-bounded.ts'
import { codeOf } from './read-environment.ts'

/** Octets of a PEM file: a bundle of every public authority has a fifth of it. */
export const pemOctetsMax = 1_048_576

const certificateForm = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

export type PemResult =
  | { readonly ok: true; readonly pem: Buffer; readonly first: X509Certificate }
  /** `found` follows the name of the file, e.g. `holds no PEM certificate`. */
  | { readonly ok: false; readonly found: string }

/** The certificates of a file, all of them sound. */
export function readCertificates(file: string): PemResult {
  const pem = readFile(file)
  if (typeof pem === 'string') return { ok: false, found: pem }
  const texts = pem.toString('latin1').match(certificateForm) ?? []
  try {
    const [first] = texts.map(text => new X509Certificate(text))
    return first === undefined ? { ok: false, found: 'holds no PEM certificate' } : { ok: true, pem, first }
  } catch {
    return { ok: false, found: 'holds a damaged certificate' }
  }
}

/** The octets of a file, or what is wrong with it. */
export function readFile(file: string): Buffer | string {
  try {
    return readBounded(file, pemOctetsMax)
  } catch (error) {
    return error instanceof FileTooLong ? `has more than ${pemOctetsMax} octets` : `cannot be read (${codeOf(error)})`
  }
}
