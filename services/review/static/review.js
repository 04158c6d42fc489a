// Keyboard flow for the reviewers' pages. Forms are sent in the background and the next item replaces the page's content;
// without this file the same forms work as plain pages. Answers of the server are parsed as documents: no script in them runs.
'use strict';

const WATCH_MS = 4000;
const SETTLE_MS = 250; // keys are ignored this long after a new item appeared, so that a double press decides one item
const find = (selector) => document.querySelector(selector);
let shownAt = 0;
let busy = false;

function localTimes() {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  for (const time of document.querySelectorAll('time[datetime]')) {
    time.textContent = format.format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
}

function say(text, kind = 'status') {
  const region = find(`[data-${kind}]`);
  region.textContent = text;
  clearTimeout(region.timer);
  region.timer = setTimeout(() => { region.textContent = ''; }, kind === 'alert' ? 9000 : 1800);
}

function show(page, url) {
  const main = page.querySelector('main');
  find('main').replaceWith(main);
  document.title = page.title;
  history.replaceState(null, '', url.split('&saved=')[0]);
  arrive();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function arrive() {
  shownAt = performance.now();
  localTimes();
  const saved = find('main').dataset.saved;
  if (saved) say(['Skipped', 'Taken back'].includes(saved) ? saved : `Saved: ${saved.toLowerCase()}`);
}

async function load(url, options) {
  const response = await fetch(url, options);
  if (new URL(response.url).pathname === '/login') return location.assign('/login');
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  if (response.ok) return show(page, response.url);
  const detail = page.querySelector('[data-detail]');
  say(detail ? detail.textContent : 'Something broke on our side. Your answer was not saved; try again.', 'alert');
  if (response.status === 409) await load(`/review${location.search}`); // someone else decided it: go on
}

async function send(form, button) {
  if (busy) return;
  busy = true;
  find('main').classList.add('leaving');
  const body = new URLSearchParams(new FormData(form));
  if (button && button.name) body.set(button.name, button.value);
  try {
    await load(form.action, { method: 'POST', body });
  } catch {
    say('Not saved: the server cannot be reached. Your answer is still here; try again.', 'alert');
  } finally {
    busy = false;
    find('main').classList.remove('leaving');
  }
}

function matching(text) {
  const wanted = text.trim().toLowerCase();
  const buttons = [...document.querySelectorAll('.labels button')];
  const hits = buttons.filter((button) => button.value.toLowerCase().includes(wanted));
  for (const button of buttons) {
    button.parentElement.hidden = !hits.includes(button);
    button.classList.toggle('found', wanted !== '' && button === hits[0]);
  }
  find('[data-none]').hidden = hits.length > 0;
  return wanted === '' ? undefined : hits[0];
}

function inField(event) {
  const field = event.target;
  if (event.key === 'Escape') {
    if (field.matches('[data-find]')) { field.value = ''; matching(''); }
    field.blur();
  } else if (event.key === 'Enter' && field.matches('[data-find]')) {
    event.preventDefault();
    const button = matching(field.value);
    if (button) button.click();
  } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && field.matches('[data-edit]')) {
    event.preventDefault();
    field.form.requestSubmit();
  }
}

function onKey(event) {
  if (event.target.matches('input, textarea')) return inField(event);
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || find('dialog[open]')) return;
  if (event.key === '?' && find('#help')) return find('#help').showModal();
  if (event.key === 'Enter' && !event.target.closest('a, button, summary')) {
    const start = find('[data-start]:not([hidden])');
    return start ? start.click() : undefined;
  }
  if (!find('[data-item], [data-key="u"]') || performance.now() - shownAt < SETTLE_MS) return;
  const key = event.key.toLowerCase();
  const field = key === 'c' ? find('[data-find], [data-edit]') : null;
  const button = field ? null : find(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  if (field || button) event.preventDefault();
  if (field) field.focus();
  if (button) button.click();
}

async function watch() {
  const { watch: route, refresh } = find('main').dataset;
  if (document.hidden || busy) return;
  try {
    if (route !== undefined) await tellArrivals(route);
    else if (refresh && [document.body, find('main')].includes(document.activeElement)) await load(location.href);
  } catch { /* the server is away: the next look may find it */ }
}

async function tellArrivals(route) {
  const more = find('[data-more]');
  const { open } = await (await fetch(`/queue/count?${new URLSearchParams({ route })}`)).json();
  if (open > 0 && more.hidden) say('New answers are waiting');
  more.hidden = open === 0;
}

document.addEventListener('submit', (event) => {
  if (!event.target.matches('[data-swap]')) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
document.addEventListener('input', (event) => { if (event.target.matches('[data-find]')) matching(event.target.value); });
document.addEventListener('keydown', onKey);
document.addEventListener('click', (event) => { if (event.target.closest('[data-open-help]')) find('#help').showModal(); });
for (const button of document.querySelectorAll('[data-open-help]')) button.hidden = false;
setInterval(watch, WATCH_MS);
arrive();
