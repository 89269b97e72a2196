// Updates the page by itself. Without this script the page works too.
const button = document.getElementById("live"), refresh = document.getElementById("refresh")
let etag = ""
const shown = new Map() // the HTML of each part as the server sent it

function say(state) {
  button.dataset.state = state
  button.lastChild.textContent = state
}

// isBusy reports whether the user types or selects in a part.
function isBusy(part) {
  const selection = getSelection()
  return [...part.querySelectorAll("input:not([type=hidden])")].some(input => input === document.activeElement || input.value !== input.defaultValue)
    || (!selection.isCollapsed && part.contains(selection.anchorNode))
}

function replace(part, html) {
  const open = [...part.querySelectorAll("details[open]")].map(details => details.closest("[id]:not(details)").id)
  const known = new Set([...part.querySelectorAll("li[id]")].map(item => item.id))
  const active = part.contains(document.activeElement) ? document.activeElement : null
  const [place, tag, name] = active ? [active.closest("[id]")?.id, active.tagName, active.name] : []
  part.innerHTML = html
  for (const id of open) document.getElementById(id)?.querySelector("details")?.setAttribute("open", "")
  for (const item of part.querySelectorAll("li[id]")) item.classList.toggle("fresh", !known.has(item.id))
  const same = place && document.getElementById(place)
  const again = same?.tagName === tag ? same : [...same?.querySelectorAll(tag) ?? []].find(e => e.name === name) ?? same?.querySelector("button")
  again?.focus({ preventScroll: true })
  if (again?.matches("#fault")) again.setSelectionRange(again.value.length, again.value.length)
}

function apply(text, force) {
  const next = new DOMParser().parseFromString(text, "text/html")
  for (const part of document.querySelectorAll("[data-live]")) {
    const html = next.getElementById(part.id)?.innerHTML
    if (html === undefined) return location.reload() // not this page
    if (html === shown.get(part.id) || (isBusy(part) && !force)) continue
    if (shown.has(part.id)) replace(part, html)
    shown.set(part.id, html)
  }
}

async function poll() {
  if (button.ariaPressed === "false" || document.hidden) return
  try {
    const response = await fetch(refresh.href, { headers: { "If-None-Match": etag }, cache: "no-store" })
    if (response.status === 200) {
      const text = await response.text()
      if (button.ariaPressed === "true") apply(text)
      etag = response.headers.get("ETag")
    }
    say("Live")
  } catch {
    say("Stopped")
    etag = ""
  }
}

for (const part of document.querySelectorAll("[data-live]")) shown.set(part.id, part.innerHTML)
button.hidden = false
refresh.hidden = true
button.addEventListener("click", () => {
  button.ariaPressed = button.ariaPressed === "false"
  say(button.ariaPressed === "true" ? "Live" : "Paused")
})
document.addEventListener("submit", async event => {
  if (event.target.method !== "post") return
  event.preventDefault()
  const body = new URLSearchParams(new FormData(event.target, event.submitter))
  const response = await fetch(event.target.action, { method: "POST", body })
  apply(await response.text(), true)
})
setInterval(poll, 1000)
