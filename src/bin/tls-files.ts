// Certificates and keys of our listeners: read and judged before they serve, so that a bad file is one sentence and not a
// listener that refuses every handshake.
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { TlsFiles } from '../config/config.ts'
import { StartError } from './start-error.ts'

/** PEM texts that belong together. */
export interface TlsTexts {
  readonly cert: Buffer
  readonly key: Buffer
  /** Null: callers need no certificate. */
  readonly clientCa: Buffer | null
}

/** Reads and judges the files of `listener`, e.g. `check.tls`. @throws StartError */
export function readTlsFiles(listener: string, { cert, key, clientCa }: TlsFiles): TlsTexts {
  try {
    const texts = {
      cert: readFileSync(cert),
      key: readFileSync(key),
      clientCa: clientCa === null ? null : readFileSync(clientCa),
    }
    createSecureContext({
      cert: texts.cert,
      key: texts.key,
      ...(texts.clientCa === null ? {} : { ca: texts.clientCa }),
    })
    return texts
  } catch (error) {
    // OpenSSL names the fault, never the content.
    const reason = error instanceof Error ? error.message.replace(/^error:[0-9A-Fa-f]+:/, '') : 'unreadable'
    throw new StartError(
      `${listener}: found ${cert} and ${key}, which cannot be used (${reason}); accepted: a PEM certificate chain and its unencrypted private key.`,
    )
  }
}
