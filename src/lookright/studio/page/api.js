// What the page asks the server for. Every address begins with the token that the page itself came from.

export class Outdated extends Error {}

async function answer(response) {
  if (response.ok) return response.json();
  const said = await response.json().catch(() => ({ error: "The server has failed; what it prints says why." }));
  throw new (response.status === 409 ? Outdated : Error)(said.error);
}

const address = (name, query) => `api/${name}${query ? `?${new URLSearchParams(query)}` : ""}`;

export const picture = (name, query) => address(name, query);

export const get = async (name, query) => answer(await fetch(address(name, query)));

export const post = async (name, body) =>
  answer(await fetch(address(name), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
