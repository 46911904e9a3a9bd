// Certificates that are renewed while a listener serves: files are looked at again and again, new handshakes get the new
// certificate, connections that are open go on. A pair that does not fit, or is half written, never replaces one that works.
import { experimental, type ServerCredentials } from '@grpc/grpc-js'
import type { TlsFiles } from '../config/config.ts'
import type { FeedTimers } from '../feed/feed-source.ts'
import type { Log } from '../observe/log.ts'
import { readTlsFiles, type TlsSetting, type TlsTexts } from './tls-files.ts'

export interface TlsWatchPorts {
  readonly timers: Pick<FeedTimers, 'after'>
  readonly log: Log
}

/** Renewals come days before the old certificate ends; nobody waits for this. */
const lookAgainMs = 10_000

type IdentityListener = experimental.IdentityCertificateUpdateListener
type CaListener = experimental.CaCertificateUpdateListener

/** Credentials of `listener`, e.g. `check.tls`, that follow their files for as long as a server listens with them. @throws StartError */
export function watchedCredentials(listener: TlsSetting, files: TlsFiles, ports: TlsWatchPorts): ServerCredentials {
  const provider = new FileCertificates(listener, files, ports)
  const needsClient = files.clientCa !== null
  return experimental.createCertificateProviderServerCredentials(provider, needsClient ? provider : null, needsClient)
}

class FileCertificates implements experimental.CertificateProvider {
  private readonly read: () => TlsTexts
  private readonly listener: string
  private readonly ports: TlsWatchPorts
  private readonly identityListeners = new Set<IdentityListener>()
  private readonly caListeners = new Set<CaListener>()
  private texts: TlsTexts
  private lastRefusal = ''
  private cancel: (() => void) | null = null

  constructor(listener: TlsSetting, files: TlsFiles, ports: TlsWatchPorts) {
    this.read = () => readTlsFiles(listener, files)
    this.listener = listener
    this.ports = ports
    this.texts = this.read()
  }

  addIdentityCertificateListener(take: IdentityListener): void {
    this.identityListeners.add(take)
    process.nextTick(() => this.tellIdentity(take)) // the library begins to listen after this call
    this.follow()
  }

  removeIdentityCertificateListener(take: IdentityListener): void {
    this.identityListeners.delete(take)
    this.follow()
  }

  addCaCertificateListener(take: CaListener): void {
    this.caListeners.add(take)
    process.nextTick(() => this.tellCa(take))
    this.follow()
  }

  removeCaCertificateListener(take: CaListener): void {
    this.caListeners.delete(take)
    this.follow()
  }

  /** Looks again while somebody listens, and only then. */
  private follow(): void {
    const isWanted = this.identityListeners.size + this.caListeners.size > 0
    if (isWanted === (this.cancel !== null)) return
    this.cancel?.()
    this.cancel = isWanted ? this.ports.timers.after(lookAgainMs, () => this.lookAgain()) : null
  }

  private lookAgain(): void {
    this.cancel = null
    try {
      this.take(this.read())
      this.lastRefusal = ''
    } catch (error) {
      const refusal = error instanceof Error ? error.message : String(error)
      if (refusal !== this.lastRefusal)
        this.ports.log.error('changed certificate files are refused; the last good ones serve', { error })
      this.lastRefusal = refusal
    }
    this.follow()
  }

  private take(texts: TlsTexts): void {
    if (isSame(texts, this.texts)) return
    this.texts = texts
    for (const take of this.identityListeners) this.tellIdentity(take)
    for (const take of this.caListeners) this.tellCa(take)
    this.ports.log.info('certificate files were read again', { listener: this.listener })
  }

  private tellIdentity(take: IdentityListener): void {
    take({ certificate: this.texts.cert, privateKey: this.texts.key })
  }

  private tellCa(take: CaListener): void {
    if (this.texts.clientCa !== null) take({ caCertificate: this.texts.clientCa })
  }
}

function isSame(some: TlsTexts, others: TlsTexts): boolean {
  const cas = [some.clientCa, others.clientCa].map(ca => ca ?? Buffer.alloc(0))
  return (
    some.cert.equals(others.cert) && some.key.equals(others.key) && cas[0]?.equals(cas[1] ?? Buffer.alloc(0)) === true
  )
}
