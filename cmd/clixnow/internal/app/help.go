package app

const rootHelp = `clixnow registers leads at a brand of the Clixnow affiliate lead API, and
reads their status and first deposit. It is not made by Clixnow.

Try it without a token:

  clixnow lead create --demo

To set it up, see "clixnow help config". To check it, run "clixnow doctor".

Exit codes of all commands:
  0  done
  1  refused
  2  the command line, a file or the configuration is wrong
  3  try again later
  4  the token or the host is wrong
  5  in doubt: the lead may exist`

const configHelp = `A flag comes before the environment, and the environment before the file.

  flag          environment         file
  --brand       CLIXNOW_BRAND       brand, if there are several
  --base-url    CLIXNOW_BASE_URL    base_url
  --token-file  CLIXNOW_TOKEN_FILE  token_file
                CLIXNOW_TOKEN       token_env, the name of a variable
  --config      CLIXNOW_CONFIG

The usual file is clixnow/config.toml in the configuration folder of the
user: ~/.config on Linux. It is written in TOML:

  brand = "acme"               # the brand without --brand

  [brands.acme]                # https://integration.acme.clixnow.com
  token_file = "acme.token"    # relative to the folder of this file

  [brands.beta]
  token_env = "BETA_TOKEN"     # the variable that holds the token
  base_url = "https://leads.example.com"
  countries = ["CH", "DE"]     # other countries are refused
  rate = 5                     # requests per second at most

  [[postbacks]]                # clixnow sync tells a tracker about events
  name = "tracker"
  preset = "keitaro"           # or voluum, binom, redtrack, affise, tune
  url = "https://tracker.example.com/KEY/postback"
  events = ["deposited"]       # and created, status changed, deposit withdrawn

  [gateway]                    # clixnow serve and clixnow work
  brands = ["acme", "beta"]    # the order in which they are tried; or by name
  origins = ["https://landing.example"]  # pages that may post from a browser
  secret_file = "gateway.secret"         # servers send it as a bearer token
  trusted_proxies = ["10.0.0.0/8"]       # whose X-Forwarded-For counts
  rate = 30                    # sign-ups per minute and address; 0: no limit
  keep = "2160h"               # settled sign-ups are deleted then; 0: never
  form_countries = ["CH"]      # of the form; or those of the brands
  texts_file = "texts.toml"    # other texts: see "clixnow help texts"

  [gateway.admin]
  password_file = "admin.htpasswd"       # lines user:hash, with bcrypt
  user_header = "X-Forwarded-User"       # if a trusted proxy checks the login
  hosts = ["leads.example"]    # hosts besides those of loopback

The token is never the value of a flag, and is never printed. A token file
is read again for each request, so a new token needs no restart.

NO_COLOR turns colours off.`
