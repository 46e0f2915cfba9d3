import { controlSocketPath, type PlacesEnvironment } from '../wire/places.ts'

/**
 * Where this user's daemon listens: the rules of `controlSocketPath`, with this process's environment and platform.
 *
 * @throws StarlingError HOME_UNUSABLE when the environment names no place at all.
 */
export function socketPath(env: PlacesEnvironment = process.env, platform: string = process.platform): string {
  return controlSocketPath(env, platform)
}
