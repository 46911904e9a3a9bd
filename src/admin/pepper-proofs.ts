// Whether this process has the peppers that the database was told of: before a digest is written, and before a digest that was
// not found is taken for an unknown one. Admin, the only writer of keys, is also the only one that writes proofs down.
// Guarantee: no key is written under a pepper whose proof in the database is another; no proof is ever replaced.
import { type Pepper, type PepperPurpose, pepperProof } from '../keys/digest.ts'
import { RpcError } from '../rpc/errors.ts'
import type { AdminReads, AdminTx } from './admin-store.ts'

/** A pepper's id with what shows its content. */
export interface PepperProof {
  readonly purpose: PepperPurpose
  readonly pepperId: string
  /** 32 octets. */
  readonly proof: Buffer
}

/** What the database said of proofs. On a schema that has no place for them nothing is contradicted and nothing written. */
export interface ProofVerdict {
  /** Whether the schema has a place for them. */
  readonly isKept: boolean
  /** Those of which it has another proof. */
  readonly contradicted: readonly PepperProof[]
  /** Those that it did not have before. */
  readonly written: readonly PepperProof[]
}

/** Proofs in the database, for a reader. */
export interface ProofReads {
  /** Those of the given ones that the database contradicts. */
  findContradicted(proofs: readonly PepperProof[]): Promise<readonly PepperProof[]>
}

/** Proofs in the database, for a writer. */
export interface ProofRows extends ProofReads {
  /** Writes those whose id has none, and compares the others. */
  prove(proofs: readonly PepperProof[]): Promise<ProofVerdict>
}

/** The proofs of peppers. */
export function proofsOf(purpose: PepperPurpose, peppers: readonly Pepper[]): readonly PepperProof[] {
  return peppers.map(pepper => ({ purpose, pepperId: pepper.id, proof: pepperProof(pepper, purpose) }))
}

/**
 * Refuses to write a digest under a pepper that the database knows with another content; one that it does not know is
 * known from this transaction on. @throws RpcError PEPPER_MISMATCH
 */
export async function requireOwnPeppers(
  tx: AdminTx,
  purpose: PepperPurpose,
  peppers: readonly Pepper[],
): Promise<void> {
  refuseContradicted((await tx.peppers.prove(proofsOf(purpose, peppers))).contradicted)
}

/** Says that the fault is ours before a digest that was not found is called unknown. @throws RpcError PEPPER_MISMATCH */
export async function refuseWrongPepper(tx: AdminReads, purpose: PepperPurpose, pepper: Pepper): Promise<void> {
  refuseContradicted(await tx.peppers.findContradicted(proofsOf(purpose, [pepper])))
}

function refuseContradicted([first]: readonly PepperProof[]): void {
  if (first === undefined) return
  const { purpose, pepperId } = first
  const kind = purpose === 'api_keys' ? 'API keys' : 'admin keys'
  throw new RpcError('PEPPER_MISMATCH', `This service has the wrong file for pepper ${pepperId} of ${kind}.`, {
    subject: `peppers/${pepperId}`,
    metadata: { pepper_id: pepperId, purpose },
  })
}
