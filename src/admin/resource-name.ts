// Names of resources, read and written: `organizations/{organization}`, `organizations/{organization}/apiKeys/{api_key}`,
// `profiles/{profile}`. A name is parsed whole or not at all; ids are plain tokens, so no name can smuggle a path.

/** Ids as our templates make them, and as a caller may give them. */
const idForm = '[A-Za-z0-9_-]{1,128}'
const organizationForm = new RegExp(`^organizations/(${idForm})$`)
const apiKeyForm = new RegExp(`^organizations/(${idForm})/apiKeys/(${idForm})$`)
const profileForm = /^profiles\/([a-z][a-z0-9-]{0,62})$/

export interface ApiKeyName {
  readonly organization: string
  readonly apiKey: string
}

/** The id in `organizations/{organization}`; undefined for any other text. */
export function parseOrganizationName(name: string): string | undefined {
  return organizationForm.exec(name)?.[1]
}

export function organizationName(id: string): string {
  return `organizations/${id}`
}

/** The ids in the name of an API key; undefined for any other text. */
export function parseApiKeyName(name: string): ApiKeyName | undefined {
  const [, organization, apiKey] = apiKeyForm.exec(name) ?? []
  return organization === undefined || apiKey === undefined ? undefined : { organization, apiKey }
}

export function apiKeyName(organization: string, apiKey: string): string {
  return `organizations/${organization}/apiKeys/${apiKey}`
}

/** The name in `profiles/{profile}`; undefined for any other text. */
export function parseProfileName(name: string): string | undefined {
  return profileForm.exec(name)?.[1]
}

export function profileName(profile: string): string {
  return `profiles/${profile}`
}
