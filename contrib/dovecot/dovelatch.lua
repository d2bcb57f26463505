-- Dovecot asks dovelatch: a Lua passdb for Dovecot 2.3 and 2.4.
--
-- Dovecot runs this script in its auth-worker processes, one log-in at a time in each of them. The
-- script hands the log-in on to dovelatch's "lua" socket, in the auth-client protocol that Postfix
-- and Dovecot's own login processes speak, and turns the answer into one that Dovecot knows.
--
-- Needs the Lua module luasocket 3.1 or later (Debian: lua-socket) and Dovecot's Lua support
-- (Debian: dovecot-auth-lua).

-- The one setting: the path of the [[listen]] entry named "lua" in dovelatch.toml.
local PATH = "/run/dovelatch/lua"

-- Seconds to wait for one line. dovelatch answers within 4 s or says "try later"; whoever is silent
-- for longer is stuck, and then this worker must become free again.
local TIMEOUT = 10

-- Lines of a greeting that we read at most. dovelatch sends seven.
local MAX_GREETING = 64

local unix = require "socket.unix"
local base64 = require("mime").b64

-- One connection for each worker, opened by its first log-in and kept until it breaks.
local connection = nil
local last_id = 0

-- A field of a line must not contain what separates fields and lines: ^A and a letter stand for it.
local ESCAPES = { ["\0"] = "\0010", ["\1"] = "\0011", ["\t"] = "\1t", ["\r"] = "\1r", ["\n"] = "\1n" }
local UNESCAPES = { ["0"] = "\0", ["1"] = "\1", t = "\t", r = "\r", n = "\n" }

local function escape(text)
  return (text:gsub("[\0\1\t\r\n]", ESCAPES))
end

local function unescape(text)
  return (text:gsub("\1(.)", function(letter) return UNESCAPES[letter] or letter end))
end

-- Closes the connection, so that the next log-in opens a new one.
local function hang_up()
  if connection then connection:close() end
  connection = nil
end

-- Reads the greeting up to DONE. Returns nothing if all is well, else what is wrong.
local function read_greeting(socket)
  local offers_plain = false
  for _ = 1, MAX_GREETING do
    local line, err = socket:receive("*l")
    if not line then return "no greeting: " .. err end
    local major = line:match("^VERSION\t(%d+)\t")
    if major and major ~= "1" then return "speaks protocol version " .. major end
    -- Without this look, a listener that was told not to offer PLAIN would refuse each of our
    -- log-ins, and everybody would be told "wrong password".
    if line == "MECH\tPLAIN" or line:find("^MECH\tPLAIN\t") then offers_plain = true end
    if line == "DONE" then
      if offers_plain then return nil end
      return "does not offer PLAIN"
    end
  end
  return "greeting without end"
end

-- Opens the connection and shakes hands. Returns nothing if all is well, else what is wrong.
local function connect()
  local socket = unix.stream()
  -- "t": for a whole call, so that a line sent byte by byte does not take longer either.
  socket:settimeout(TIMEOUT, "t")
  local ok, err = socket:connect(PATH)
  if not ok then
    socket:close()
    return "cannot connect: " .. tostring(err)
  end
  -- Minor version 2 is what tells dovelatch that we understand "try later". The process id is not
  -- used for anything on this socket and Lua does not know it: any number will do.
  ok, err = socket:send("VERSION\t1\t2\nCPID\t" .. math.random(1, 2147483647) .. "\n")
  local problem = nil
  if ok then problem = read_greeting(socket) else problem = "cannot send: " .. tostring(err) end
  if problem then
    socket:close()
    return problem
  end
  connection = socket
  last_id = 0
  return nil
end

-- Sends one request and waits for its answer. Returns the answer's first word and the rest of the
-- line, or nil and the error.
local function ask_once(fields)
  last_id = last_id + 1
  local sent, err = connection:send("AUTH\t" .. last_id .. "\t" .. fields .. "\n")
  if not sent then return nil, err end
  while true do
    local line
    line, err = connection:receive("*l")
    if not line then return nil, err end
    local word, id, rest = line:match("^(%u+)\t(%d+)(.*)$")
    if tonumber(id) == last_id then return word, rest end
  end
end

-- As above, and opens the connection if need be. A kept connection may have broken unnoticed, for
-- example because dovelatch was restarted: then once more on a new one. Asking twice does no harm.
local function ask(fields)
  local word, rest
  for _ = 1, 2 do
    if not connection then
      local problem = connect()
      if problem then return nil, problem end
    end
    word, rest = ask_once(fields)
    if word then return word, rest end
    -- A late answer must not meet the next request.
    hang_up()
    -- The second ten seconds would not go better.
    if rest == "timeout" then break end
  end
  return nil, rest
end

-- "\tkey=value\tword" as a table; a bare word has the value "".
local function parse_fields(text)
  local fields = {}
  for field in text:gmatch("[^\t]+") do
    field = unescape(field)
    local key, value = field:match("^([^=]*)=(.*)$")
    if key then fields[key] = value else fields[field] = "" end
  end
  return fields
end

local function request_fields(req, authzid, password)
  -- nologin: nobody picks this log-in up on the master socket afterwards.
  -- no-penalty: Dovecot's auth in front of us slows guessers down already.
  local fields = { "PLAIN", "service=" .. escape(req.protocol or req.service or "unknown"), "nologin", "no-penalty" }
  local function add(key, value)
    if value and value ~= "" then fields[#fields + 1] = key .. "=" .. escape(value) end
  end
  add("rip", req.remote_ip)
  add("lip", req.local_ip)
  add("session", req.session)
  if req.secured and req.secured ~= "" then fields[#fields + 1] = "secured" end
  -- The last field, by the rules of the protocol.
  fields[#fields + 1] = "resp=" .. base64(authzid .. "\0" .. req.user .. "\0" .. password)
  return table.concat(fields, "\t")
end

-- Fields for Dovecot from those of an OK. Only what is named here goes on: in Dovecot's hands fields
-- such as "proxy" or "nologin" turn a log-in into something else.
local function reply_fields(answer, is_delegation)
  local reply = {
    -- The mail process registers its session under these names: `doveadm kick -f user_device`
    -- (2.4) finds it by them. They reach it as fields of the userdb only.
    userdb_user_device = answer.user_device,
    userdb_user_access = answer.user_access,
    -- Into the events of 2.4, of the log-in and of the session.
    event_device = answer.event_device,
    userdb_event_device = answer.event_device,
  }
  -- The mailbox as dovelatch writes it. In a passdb with "master = yes" the field would rename
  -- the person, and Dovecot knows the mailbox already.
  if not is_delegation then reply.user = answer.user end
  return reply
end

local function trouble(what)
  return dovecot.auth.PASSDB_RESULT_INTERNAL_FAILURE, "dovelatch at " .. PATH .. ": " .. what
end

-- Called by Dovecot for each log-in. Trouble, ours or dovelatch's, is an internal failure, which
-- mail programs see as temporary; never a wrong password, for which phones discard the saved one.
function auth_password_verify(req, password)
  -- NUL separates the parts of a PLAIN message, so nobody's user name or password has one.
  if req.user:find("\0", 1, true) or password:find("\0", 1, true) then
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, "NUL in the user name or password"
  end
  -- In a passdb with "master = yes", user is the person who logs in and login_user the mailbox that
  -- is wanted: a delegation, which dovelatch decides.
  local authzid = req.login_user or ""
  if authzid == req.user then authzid = "" end

  local word, rest = ask(request_fields(req, authzid, password))
  if not word then return trouble(rest) end
  local answer = parse_fields(rest)
  if word == "OK" then
    if not answer.user or answer.user == "" then return trouble("accepted nobody") end
    return dovecot.auth.PASSDB_RESULT_OK, reply_fields(answer, authzid ~= "")
  end
  if word == "FAIL" then
    if answer.code == "temp_fail" or answer.temp then return trouble("try later") end
    -- Our own encoding would be at fault, not the person's password.
    if answer.code == "invalid_base64" then return trouble("did not understand the request") end
    return dovecot.auth.PASSDB_RESULT_PASSWORD_MISMATCH, "refused by dovelatch"
  end
  hang_up()
  return trouble("unexpected answer " .. word)
end

function script_init()
  return 0
end

function script_deinit()
  hang_up()
end
