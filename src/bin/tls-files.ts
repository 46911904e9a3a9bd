// Certificates and keys of our listeners: read and judged before they serve, so that a bad file is one sentence and not a
// listener that refuses every handshake. What is said of a file never repeats what is in it.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { Config, TlsFiles } from '../config/config.ts'
import type { ConfigFault } from '../config/fault.ts'
import { readCertificates, readFile } from '../config/pem-file.ts'
import { settingName } from '../config/settings.ts'
import { FaultyConfig } from './start-error.ts'

/** PEM texts that belong together. */
export interface TlsTexts {
  readonly cert: Buffer
  readonly key: Buffer
  /** Null: callers need no certificate. */
  readonly clientCa: Buffer | null
}

/** The settings that name files of a listener. */
export type TlsSetting = 'check.tls' | 'admin.tls'

/** Everything that is wrong with the files of the listeners that a role opens. */
export function tlsFaults({ role, check, admin }: Config): ConfigFault[] {
  const serves = (part: 'check' | 'admin') => role === part || role === 'serve'
  return [
    ...(serves('check') && check.tls !== null ? judge('check.tls', check.tls).faults : []),
    ...(serves('admin') && admin.tls !== null ? judge('admin.tls', admin.tls).faults : []),
  ]
}

/** Reads and judges the files of a listener. @throws StartError */
export function readTlsFiles(setting: TlsSetting, files: TlsFiles): TlsTexts {
  const { texts, faults } = judge(setting, files)
  if (texts === undefined) throw new FaultyConfig(faults)
  return texts
}

function judge(
  setting: TlsSetting,
  files: TlsFiles,
): { readonly texts: TlsTexts | undefined; readonly faults: readonly ConfigFault[] } {
  const faults: ConfigFault[] = []
  const refuse = (member: 'cert' | 'key' | 'client_ca', file: string, found: string, accepted: string) => {
    faults.push({ name: settingName(`${setting}.${member}`), found: `${file}, which ${found}`, accepted })
  }
  const cert = readCertificates(files.cert)
  if (!cert.ok) refuse('cert', files.cert, cert.found, 'a PEM certificate chain, the own certificate first')
  const key = readFile(files.key)
  const parsed = typeof key === 'string' ? key : privateKeyOf(key)
  if (typeof parsed === 'string') refuse('key', files.key, parsed, 'an unencrypted private key in PEM')
  else if (cert.ok && !cert.first.checkPrivateKey(parsed)) {
    refuse('key', files.key, `is not the key of ${files.cert}`, 'the private key of the first certificate of the chain')
  }
  const ca = files.clientCa === null ? null : readCertificates(files.clientCa)
  if (ca !== null && !ca.ok) refuse('client_ca', files.clientCa ?? '', ca.found, 'the PEM certificate of an authority')
  if (faults.length > 0 || !cert.ok || typeof key === 'string' || ca?.ok === false) return { texts: undefined, faults }
  const texts = { cert: cert.pem, key, clientCa: ca?.pem ?? null }
  const unusable = contextFault(texts)
  if (unusable === undefined) return { texts, faults }
  refuse('cert', `${files.cert} and ${files.key}`, `TLS does not take (${unusable})`, 'a key and a signature of today')
  return { texts: undefined, faults }
}

function privateKeyOf(pem: Buffer): KeyObject | string {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    const isEncrypted = error instanceof Error && 'code' in error && error.code === 'ERR_MISSING_PASSPHRASE'
    return isEncrypted ? 'is encrypted' : 'holds no PEM private key'
  }
}

/** Why TLS refuses the texts; OpenSSL names the fault, never the content. */
function contextFault({ cert, key, clientCa }: TlsTexts): string | undefined {
  try {
    createSecureContext({ cert, key, ...(clientCa === null ? {} : { ca: clientCa }) })
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.replace(/^error:[0-9A-Fa-f]+:/, '') : 'it gives no reason'
  }
}
