// The shipped profiles in a directory of the suite's own, some with small named changes: what no product has, deployments may.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Product, products, profileText } from '../profile/documents.ts'

/** Texts to replace, each of which must occur. */
export type Change = Readonly<Record<string, string>>

/** Routes of a profile that has none of them: a subtree for any valid key, and one for everybody. */
export const openRoutes: Change = {
  '    - {path: /customers,  ': `    - {path: "/files/**", methods: {GET: authenticated}, documented: false}
    - {path: /health, methods: {GET: public}, documented: false}
    - {path: /customers,  `,
}

/** The directory, made; profiles that are not named are as shipped. */
export function profilesWith(directory: string, changes: Readonly<Partial<Record<Product, Change>>>): string {
  const folder = join(directory, 'profiles')
  mkdirSync(folder)
  for (const product of products) {
    const text = Object.entries(changes[product] ?? {}).reduce((result, [from, to]) => {
      if (!result.includes(from)) throw new Error(`the profile ${product} does not contain ${from}`)
      return result.replace(from, to)
    }, profileText(product))
    writeFileSync(join(folder, `${product}.yaml`), text)
  }
  return folder
}
