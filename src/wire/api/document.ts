/**
 * What begins every JSON document of the API. Apart from the schemas, because these load in a millisecond and the schema
 * library takes 70, which is most of the start of a short command.
 */

/** Version of the shapes of the API; the first field of every JSON document. */
export const API_VERSION = 'starling/v1'

/** Adds what every JSON document of the API begins with. */
export function document<K extends string, T extends object>(
  kind: K,
  value: T
): { apiVersion: typeof API_VERSION; kind: K } & T {
  return { apiVersion: API_VERSION, kind, ...value }
}
