// Proofs of peppers in PostgreSQL, for admin: written once, never changed, compared by the database.
// A schema one version older has no table for them; it contradicts nothing.
import type pg from 'pg'
import type { PepperProof, ProofRows } from '../admin/pepper-proofs.ts'
import { rowsOf } from './admin-query.ts'
import { hasProofsStatement } from './feed-statements.ts'

const own = 'unnest($1::text[], $2::text[], $3::bytea[]) AS own(purpose, pepper_id, proof)'

/** Null where there is none. The order is that of the question. */
const compareStatement = `
SELECT p.proof = own.proof AS same
FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS own(purpose, pepper_id, proof, place)
LEFT JOIN pepper_proofs p ON p.purpose = own.purpose AND p.pepper_id = own.pepper_id
ORDER BY own.place`

/** In one order for everybody: two that begin at the same time wait for each other, never both. */
const writeStatement = `
INSERT INTO pepper_proofs (purpose, pepper_id, proof)
SELECT own.purpose, own.pepper_id, own.proof FROM ${own} ORDER BY own.purpose, own.pepper_id
ON CONFLICT (purpose, pepper_id) DO NOTHING`

/** See the port for what each method promises. */
export function adminPepperRows(client: pg.ClientBase): ProofRows {
  const areKept = async () => (await rowsOf<{ there: boolean }>(client, hasProofsStatement))[0]?.there === true
  return {
    async findContradicted(proofs) {
      return (await areKept()) ? (await compare(client, proofs)).contradicted : []
    },

    async prove(proofs) {
      if (!(await areKept())) return { isKept: false, contradicted: [], written: [] }
      const { absent: written, contradicted } = await compare(client, proofs)
      if (written.length === 0) return { isKept: true, contradicted, written }
      await rowsOf(client, writeStatement, valuesOf(written))
      // Another process may have been faster, with another content: what counts is what stands there now.
      return { isKept: true, contradicted: (await compare(client, proofs)).contradicted, written }
    },
  }
}

async function compare(client: pg.ClientBase, proofs: readonly PepperProof[]) {
  const rows = await rowsOf<{ same: boolean | null }>(client, compareStatement, valuesOf(proofs))
  const those = (same: boolean | null) => proofs.filter((_, place) => rows[place]?.same === same)
  return { absent: those(null), contradicted: those(false) }
}

function valuesOf(proofs: readonly PepperProof[]): unknown[] {
  return [proofs.map(one => one.purpose), proofs.map(one => one.pepperId), proofs.map(one => one.proof)]
}
