"""Filters over `slipway_sites`, the one list that says what the hosts serve."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

DOCUMENTATION = r"""
name: slipway_sites
short_description: Checks, completes and splits the list of sites
description:
  - C(slipway_site_errors) tells what can't be served, one line for each mistake.
  - C(slipway_unknown_timezones) tells which sites have a time zone that the host doesn't know.
  - C(slipway_foreign_accounts) tells which names and ids of sites a host gave to something else.
  - C(slipway_nginx_lines) gives a dictionary of nginx's directives as lines, C(slipway_nginx_fault) tells what is wrong
    with such a line, and C(slipway_nginx_option_faults) with the dictionary.
"""

Site = dict[str, Any]

# Key of a site => what it may be. A nested mapping or list of mappings is spelled out the same way.
_COMMON: dict[str, Any] = {
    "name": str,
    "type": str,
    "domain": str,
    "aliases": [str],
    "uid": int,
    "nginx": [str],
    "certificate": {"issuer": str, "file": str, "key_file": str},
}
_KEYS: dict[str, dict[str, Any]] = {
    "wordpress": {
        **_COMMON,
        "title": str,
        "language": str,
        "timezone": str,
        "permalinks": str,
        "admin": {"name": str, "email": str, "password": str},
        "users": [{"name": str, "email": str, "role": str, "password": str}],
        "replicas": int,
        "memory_mb": int,
        "database_password": str,
        "cache_password": str,
        "ftp_password": str,
        "salt_seed": str,
    },
    "static": {
        **_COMMON,
        "source": {
            "folder": str,
            "archive": str,
            "checksum": str,
            "git": str,
            "version": str,
            "key_file": str,
            "host_key": str,
        },
        "server": str,
    },
}
_REQUIRED = {"wordpress": ["title", "admin"], "static": ["source"]}
_REQUIRED_NESTED = {"admin": ["name", "email"], "users": ["name", "email", "role"]}
_SECRET_KEYS = {"password", "database_password", "cache_password", "ftp_password", "salt_seed"}
# What a source may say beside its kind.
_SOURCE_OPTIONS = {"folder": [], "archive": ["checksum"], "git": ["version", "key_file", "host_key"]}
_SERVERS = ["nginx", "http-server"]
_ISSUERS = ["local", "acme", "provided"]
# Those of WordPress itself: a plugin's role is there once somebody has activated the plugin, which no run does.
_ROLES = ["administrator", "editor", "author", "contributor", "subscriber"]
_PASSWORD_LENGTH = 12
# vsftpd refuses longer ones (its VSFTP_PASSWORD_MAX), in bytes.
_FTP_PASSWORD_BYTES = 128
_TYPE_NAMES = {str: "a text", int: "a whole number"}

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")
# RFC 1123 host names, at least two labels, the last one not a number.
_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_CHECKSUM = re.compile(r"sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_ARCHIVE = re.compile(r"(https?|ftp)://[^/\s]\S*|file:///\S.*")
# What is on the controller is a folder; the host itself asks for a repository, so it has no file:// of its own.
_GIT = re.compile(r"(https?|ssh|git)://\S+|[\w.-]+@[\w.-]+:\S+")
# At least one letter or digit: WordPress makes the address of an author's page of them.
_USER = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_.-]{1,60}")
# WordPress's is_email(), of at most what its table holds. No "&": WordPress stores that as "&amp;".
_EMAIL = re.compile(
    r"(?=.{6,100}\Z)[A-Za-z0-9!#$%'*+/=?^_`{|}~.-]+@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+"
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)
# The tags that WordPress puts values in for, and what may stand between them in a path.
_TAGS = ["year", "monthnum", "day", "hour", "minute", "second", "post_id", "postname", "category", "author"]
_TAG = re.compile(r"%([^%/]*)%")
# What nginx answers by itself, without asking WordPress.
_TAKEN_PATH = re.compile(r"/wp-(admin|content|includes|json)(/|$)|.*/\.{1,2}(/|$)")
_TAKEN_ENDING = re.compile(r"\.(?!html?/?$)[\w~-]+/?$")
_PERMALINKS = re.compile(r"(/([\w.~-]|%[a-z_]+%)+)+/?")
# Locales as WordPress has them: ja, ckb, de_DE, de_DE_formal, pt_PT_ao90.
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?(_[a-z0-9]+)?")
# Locales of languages that it has with a country alone, the one to think of first; by language.
_LOCALES = (
    "bg_BG bn_BD bs_BA cs_CZ da_DK de_DE en_US es_ES fa_IR fr_FR gl_ES he_IL hi_IN hu_HU id_ID is_IS it_IT jv_ID ka_GE "
    "ko_KR lb_LU lt_LT mk_MK ml_IN ms_MY my_MM nb_NO ne_NP nl_NL nn_NO pa_IN pl_PL pt_PT ro_RO ru_RU si_LK sk_SK sl_SI "
    "so_SO sr_RS su_ID sv_SE ta_IN tr_TR tt_RU ug_CN uz_UZ zh_CN"
)
_LOCALE_OF = {locale[:2]: locale for locale in _LOCALES.split()}
_TIMEZONE = re.compile(r"GMT[+-]0|[A-Za-z][A-Za-z0-9_-]*(/[A-Za-z][A-Za-z0-9_+-]*)*")

# Why a site can't have a name: it is a system user and group, a pool of FPM, a database, a user of database, cache and
# FTP, a folder.
_RESERVED = {
    "the system or a server has an account or a group of that name": re.compile(
        r"root|daemon|bin|sync|games|man|lp|mail|news|uucp|proxy|www-data|backup|list|irc|gnats|nobody|nogroup|adm|"
        r"shadow|shutdown|halt|operator|guest|ftp|sshd|ssl-cert|ntp|chrony|postmaster|cron|crontab|at|squid|xfs|cyrus|"
        r"vpopmail|smmsp|mysql|mariadb|redis|valkey|nginx|docker|vsftpd|messagebus|polkitd|systemd-.*"
    ),
    "the distribution's own pool of PHP-FPM has that name": re.compile(r"www"),
    "the settings of PHP-FPM have a section of that name": re.compile(r"global"),
    "configuration files read it as yes, no or nothing": re.compile(r"on|off|yes|no|true|false|none|null"),
    "the cache server's first user has that name": re.compile(r"default"),
    "the FTP server takes it for a visitor without a password": re.compile(r"anonymous"),
    "MariaDB has a database, a file or an account of that name": re.compile(
        r"sys|test|debian-sys-maint|ibdata\d+|ibtmp\d+|undo\d+"
    ),
    "the web server's package has a folder of that name in /var/www": re.compile(r"html|localhost"),
    "it is for Slipway's own services and groups": re.compile(r"slipway(-.*)?|php|static"),
}

# Above what adduser gives to people by default and the stack's own ids, and below busybox's limit of 60000. A static
# site's http-server listens on the port of this number.
_UID_FIRST = 20000
_UID_COUNT = 10000
_REPLICAS = 16
# What one worker of PHP needs, in MiB: with less, no container of a site comes up.
_MEMORY_MB = 64

# What nginx's reader takes for one (its ngx_conf_read_token): a quote and a "#" count where a word begins, a backslash
# takes its meaning from what follows it, and "${" is a variable's.
_NGINX_TOKEN = re.compile(
    r"""[ \t]+|\#.*|(?P<mark>[;{}])"""
    r"""|(?P<word>"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|(?!["'])(\\.|\$\{|[^ \t;{\\])+)"""
)
_DIRECTIVE = re.compile(r"[a-z][a-z0-9_]*")

# A mistake: the path of the key in the site, empty for the site itself, and what is wrong.
Mistake = tuple[str, str]


def _expected(rule: Any, value: object) -> str:
    if isinstance(rule, list):
        return "a list"
    if rule is str and isinstance(value, int | float | date):
        # 1.0, yes and 2026-01-31 are no texts in YAML.
        return "a text, in quotes"
    return "a mapping" if isinstance(rule, dict) else _TYPE_NAMES[rule]


def _shown(value: object, key: str = "") -> str:
    """Return a value as an error may show it: nothing that is, or holds, a secret."""
    if key in _SECRET_KEYS:
        return "(secret)"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return re.sub(r"//[^/@]*@", "//(secret)@", repr(value))


def _fits(rule: Any, value: object) -> bool:
    kind = type(rule) if isinstance(rule, list | dict) else rule
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _sound(
    path: str, rules: dict[str, Any], item: dict[str, Any], required: list[str], mistakes: list[Mistake]
) -> dict[str, Any]:
    """Return what of a mapping has the right shape, at any depth, so that its values can be looked at.

    Keys that are unknown or missing and values of the wrong type go to ``mistakes``. An entry of a list that is wrong
    becomes None: the others keep their places.
    """
    sound: dict[str, Any] = {}
    for key, value in item.items():
        where = _below(path, key)
        if key not in rules:
            mistakes.append((where, f"unknown key '{key}'; allowed: {', '.join(sorted(rules))}"))
            continue
        rule, inner = rules[key], _REQUIRED_NESTED.get(key, [])
        if not _fits(rule, value):
            mistakes.append((where, f"{_shown(value, key)} is not allowed; give {_expected(rule, value)}"))
        elif isinstance(rule, dict):
            sound[key] = _sound(where, rule, value, inner, mistakes)
        elif isinstance(rule, list):
            sound[key] = [_entry(f"{where}[{n}]", rule[0], entry, inner, mistakes) for n, entry in enumerate(value)]
        else:
            sound[key] = value
    mistakes += [
        (_below(path, key), f"missing; required here: {', '.join(required)}") for key in required if key not in item
    ]
    return sound


def _entry(where: str, rule: Any, entry: Any, required: list[str], mistakes: list[Mistake]) -> Any:
    if not _fits(rule, entry):
        mistakes.append((where, f"{_shown(entry)} is not allowed; give {_expected(rule, entry)}"))
        return None
    return _sound(where, rule, entry, required, mistakes) if isinstance(rule, dict) else entry


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def _secret_fault(key: str, value: str) -> str:
    """Return what is wrong with a secret, without showing it; empty if nothing is."""
    size = len(value.encode(errors="surrogatepass"))
    # Programs on the way cut such ends off or can't be given them: one side then has another password than the other.
    for place, end in (("end", value[-1:]), ("beginning", value[:1])):
        if end in {"\n", "\r"}:
            return f"a secret with a line break at its {place} is not allowed; store it without (printf '%s', not echo)"
        if end.isspace():
            return f"a secret with a blank at its {place} is not allowed; store it without"
    if any(_is_control(character) for character in value):
        return "a secret with a control character in it, or half of one, is not allowed; give one that can be typed"
    if len(value) < _PASSWORD_LENGTH:
        return (
            f"a password of {len(value)} characters is not allowed; give at least {_PASSWORD_LENGTH}, or none to have"
            " one made"
        )
    if key == "ftp_password" and size > _FTP_PASSWORD_BYTES:
        return f"a password of {size} bytes is not allowed; the FTP server takes up to {_FTP_PASSWORD_BYTES}"
    return ""


def _secrets(path: str, item: dict[str, Any]) -> Iterator[Mistake]:
    for key, value in item.items():
        if key in _SECRET_KEYS and (fault := _secret_fault(key, value)):
            yield _below(path, key), fault


def _users(site: Site) -> list[tuple[str, Site]]:
    """Return the administrator and the further users of a site with right shapes, each with its path."""
    users = [("admin", site["admin"])] if "admin" in site else []
    return users + [(f"users[{n}]", user) for n, user in enumerate(site.get("users", [])) if user is not None]


def _user_mistakes(path: str, user: Site) -> Iterator[Mistake]:
    yield from _secrets(path, user)
    if "name" in user:
        name = user["name"]
        if (path == "admin" or user.get("role") == "administrator") and "admin" in name.lower():
            yield (
                f"{path}.name",
                f"{name!r} is not allowed; an administrator's name must not contain 'admin', the first name attackers"
                " try",
            )
        # PHP takes "0" for no name (wp_insert_user).
        if not _USER.fullmatch(name) or name == "0":
            yield f"{path}.name", f"{name!r} is not allowed; give up to 60 letters, digits and _.-"
    if not _EMAIL.fullmatch(user.get("email", "captain@example.test")):
        yield (
            f"{path}.email",
            f"{user['email']!r} is not allowed; give an e-mail address that WordPress takes: up to 100 characters of"
            " ASCII, with a dot in its domain",
        )
    if user.get("role", _ROLES[0]) not in _ROLES:
        yield f"{path}.role", f"{user['role']!r} is not allowed; one of: {', '.join(_ROLES)}"


def _permalinks_fault(structure: str) -> str:
    if structure == "":
        return ""
    unknown = [f"%{tag}%" for tag in _TAG.findall(structure) if tag not in _TAGS]
    if unknown:
        return f"{structure!r} is not allowed; {unknown[0]} is none of: {', '.join(f'%{tag}%' for tag in _TAGS)}"
    if not _TAG.search(structure) or not _PERMALINKS.fullmatch(structure):
        return f"{structure!r} is not allowed; give a path with a tag such as /%postname%/, or '' for the plain form"
    if _TAKEN_PATH.match(structure) or _TAKEN_ENDING.search(structure):
        return (
            f"{structure!r} is not allowed; the web server has other use for such addresses: neither begin it with a"
            " folder of WordPress, nor end it like a file other than .html"
        )
    return ""


def _language_fault(language: str) -> str:
    first = re.split("[^a-z]", language.lower())[0]
    if _LANGUAGE.fullmatch(language) and language not in _LOCALE_OF:
        return ""
    return f"{language!r} is not allowed; give a locale that WordPress has, such as {_LOCALE_OF.get(first, 'de_DE')}"


def _wordpress_mistakes(site: Site) -> Iterator[Mistake]:
    for path, user in _users(site):
        yield from _user_mistakes(path, user)
    title = site.get("title", "a title")
    if not title.strip() or any(_is_control(character) for character in title):
        yield "title", f"{title!r} is not allowed; give one line of text"
    if fault := _language_fault(site.get("language", "en_US")):
        yield "language", fault
    if not _TIMEZONE.fullmatch(site.get("timezone", "UTC")):
        yield "timezone", f"{site['timezone']!r} is not allowed; give an IANA name such as Europe/Berlin"
    if fault := _permalinks_fault(site.get("permalinks", "")):
        yield "permalinks", fault
    replicas = site.get("replicas", 1)
    if not 1 <= replicas <= _REPLICAS:
        yield "replicas", f"{replicas} is not allowed; 1 to {_REPLICAS}"
    elif site.get("memory_mb", _MEMORY_MB * replicas) < _MEMORY_MB * replicas:
        count = f"{replicas} replicas share it" if replicas > 1 else "PHP needs it"
        yield "memory_mb", f"{site['memory_mb']} is not allowed; {count}, so give at least {_MEMORY_MB * replicas}"


def _static_mistakes(site: Site) -> Iterator[Mistake]:
    source = site.get("source", {})
    kinds = [kind for kind in ("folder", "archive", "git") if kind in source]
    if "source" in site and len(kinds) != 1:
        yield "source", f"{sorted(source)} is not allowed; give one of: folder, archive, git"
    elif kinds:
        for key in sorted(set(source) - {*kinds, *_SOURCE_OPTIONS[kinds[0]]}):
            others = [kind for kind, options in _SOURCE_OPTIONS.items() if key in options]
            yield f"source.{key}", f"not allowed beside '{kinds[0]}'; it is for {', '.join(others)}"
    # What a relative one starts from would depend on where the run was started.
    if "folder" in source and not re.match(r"/|~", source["folder"]):
        yield (
            "source.folder",
            f'{source["folder"]!r} is not allowed; give an absolute path, such as "{{{{ inventory_dir }}}}/../site"',
        )
    if "archive" in source and not _ARCHIVE.fullmatch(source["archive"]):
        yield (
            "source.archive",
            f"{_shown(source['archive'])} is not allowed; give a URL: https://, http://, or file:///path on the"
            " controller",
        )
    if "archive" in source and not _CHECKSUM.fullmatch(source.get("checksum", "")):
        yield "source.checksum", f"{source.get('checksum', '')!r} is not allowed; give sha256:<hex digits>"
    if "git" in source and not _GIT.fullmatch(source["git"]):
        yield "source.git", f"{_shown(source['git'])} is not allowed; give the URL of a git repository"
    for key in ("key_file", "host_key"):
        if key in source and re.match(r"(https?|git)://", source.get("git", "")):
            yield f"source.{key}", "not allowed here; it is for a git repository by ssh"
    if "git" in source and "version" not in source:
        yield "source.version", "missing; give a tag, a commit or a branch"
    if site.get("server", _SERVERS[0]) not in _SERVERS:
        yield "server", f"{site['server']!r} is not allowed; one of: {', '.join(_SERVERS)}"


def _domain_fault(domain: str) -> str:
    """Return what is wrong with a host name, and how it would be right; empty if nothing is."""
    if _DOMAIN.fullmatch(domain):
        return ""
    right = domain.lower().rstrip(".")
    if right != domain and _DOMAIN.fullmatch(right):
        advice = f"write it in lower case and without the dot at its end: {right}"
    elif re.fullmatch(r"[0-9.]+|\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?", domain):
        advice = "it is an address; give a host name such as blog.example.test"
    elif not domain.isascii() and (ascii_form := _ascii_form(domain)):
        advice = f"write it in its ASCII form: {ascii_form}"
    else:
        advice = (
            "give a host name such as blog.example.test: up to 253 letters, digits, hyphens and dots, up to 63 between"
            " two dots"
        )
    return f"{domain!r} is not allowed; {advice}"


def _ascii_form(domain: str) -> str:
    """Return the ``xn--`` form of an international host name, or an empty text if it has none for certain.

    The older of the two standards, which Python has, writes four letters otherwise (RFC 5894, 7.2).
    """
    if re.search("[ßς\u200c\u200d]", domain.lower()):
        return ""
    try:
        found = domain.lower().encode("idna").decode()
    except UnicodeError:
        return ""
    return found if _DOMAIN.fullmatch(found) else ""


def _common_mistakes(site: Site) -> Iterator[Mistake]:
    name = site.get("name", "a")
    if not _NAME.fullmatch(name):
        yield (
            "name",
            f"{name!r} is not allowed; a lower-case letter, then up to 15 letters, digits and hyphens, the last one no"
            " hyphen",
        )
    for reason, names in _RESERVED.items():
        if names.fullmatch(name):
            yield "name", f"{name!r} is not allowed; {reason}"
    for path, domain in _names(site):
        if fault := _domain_fault(domain):
            yield path, fault
    for number, line in enumerate(site.get("nginx", [])):
        if line is not None and (fault := nginx_fault(line)):
            yield f"nginx[{number}]", f"{_shown(line)} is not allowed; {fault}"
    yield from _certificate_mistakes(site.get("certificate", {}))
    if not _UID_FIRST <= site.get("uid", _UID_FIRST) < _UID_FIRST + _UID_COUNT:
        yield (
            "uid",
            f"{site['uid']} is not allowed; {_UID_FIRST} to {_UID_FIRST + _UID_COUNT - 1}, or none to have one worked"
            " out",
        )


def _certificate_mistakes(given: dict[str, str]) -> Iterator[Mistake]:
    issuer = given.get("issuer", "provided" if {"file", "key_file"} & set(given) else "")
    if issuer and issuer not in _ISSUERS:
        yield "certificate.issuer", f"{issuer!r} is not allowed; one of: {', '.join(_ISSUERS)}"
    for key in ("file", "key_file"):
        if issuer in _ISSUERS and issuer != "provided" and key in given:
            yield f"certificate.{key}", f"not allowed beside the issuer '{issuer}'; it is for 'provided'"
        elif issuer == "provided" and key not in given:
            yield f"certificate.{key}", "missing; give the path of a PEM file on the controller"
        # What a relative one starts from would depend on where the run was started.
        elif key in given and not re.match(r"/|~", given[key]):
            yield (
                f"certificate.{key}",
                f'{given[key]!r} is not allowed; give an absolute path, such as "{{{{ inventory_dir }}}}/../blog.pem"',
            )


def nginx_fault(line: str) -> str:
    """Return what is wrong with a line of nginx's directives, each of them whole; empty if nothing is.

    Which directives there are, and what they take, is for nginx to say.
    """
    if any(_is_control(character) and character != "\t" for character in line):
        return "give each directive a line of its own, without control characters"
    depth = words = position = 0
    while position < len(line):
        token = _NGINX_TOKEN.match(line, position)
        if token is None:
            return "a quote is not closed, or a backslash has nothing behind it"
        position = token.end()
        if token["word"]:
            words += 1
            continue
        if token["mark"] is None:
            continue
        if (token["mark"] == "}") == bool(words):
            return "a ';' is missing" if words else f"nothing stands before the {token['mark']!r}"
        words = 0
        depth += {";": 0, "{": 1, "}": -1}[token["mark"]]
        if depth < 0:
            return "it closes a block that it doesn't open"
    if depth:
        return "it opens a block that it doesn't close"
    return "" if line.strip() and not words else "a ';' is missing"


def nginx_lines(options: dict[str, Any]) -> list[str]:
    """Return directives of nginx as lines; one with a list of values is there once for each."""
    words = {True: "on", False: "off"}
    return [
        f"{name} {words[value] if isinstance(value, bool) else value};"
        for name, values in options.items()
        for value in (values if isinstance(values, list) else [values])
    ]


def nginx_option_faults(options: dict[str, Any]) -> list[str]:
    """Return what is wrong with a dictionary of nginx's directives, as far as that shows without nginx."""
    faults = []
    for name, values in options.items():
        each = values if isinstance(values, list) else [values]
        if not _DIRECTIVE.fullmatch(name):
            faults.append(f"{name!r} is no name of a directive")
        elif not all(isinstance(value, str | int | float) and str(value).strip() for value in each):
            faults.append(f"{name}: give a text, a number, on or off, or a list of these")
        else:
            faults += [f"{name}: {fault}" for line in nginx_lines({name: each}) if (fault := _option_fault(line))]
    return faults


def _option_fault(line: str) -> str:
    """Return what is wrong with a line that is one directive without a block."""
    marks = [token["mark"] for token in _NGINX_TOKEN.finditer(line) if token["mark"]]
    return nginx_fault(line) if marks == [";"] else "give what one directive takes; a block goes into a file"


def _names(site: Site) -> list[tuple[str, str]]:
    """Return the domain and the aliases of a site with right shapes, each with its path."""
    names = [("domain", site["domain"])] if "domain" in site else []
    return names + [(f"aliases[{n}]", alias) for n, alias in enumerate(site.get("aliases", [])) if alias is not None]


def _site_mistakes(site: Site) -> tuple[list[Mistake], Site]:
    """Return what is wrong with a site by itself, and what of it has the right shape."""
    required = ["name", "type", "domain"]
    mistakes: list[Mistake] = []
    kind = site.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        # Which other keys it may have is the type's to say.
        sound = _sound("", _COMMON, {key: site[key] for key in _COMMON if key in site}, required, mistakes)
        if isinstance(kind, str):
            mistakes.append(("type", f"{kind!r} is not allowed; one of: {', '.join(_KEYS)}"))
        return mistakes + list(_common_mistakes(sound)), sound
    sound = _sound("", _KEYS[kind], site, required + _REQUIRED[kind], mistakes)
    mistakes += _common_mistakes(sound)
    mistakes += _secrets("", sound)
    mistakes += _wordpress_mistakes(sound) if kind == "wordpress" else _static_mistakes(sound)
    return mistakes, sound


def _place(where: str, path: str, site: Site) -> str:
    """Return where in the list a value is, with the name of its site behind it if that can be told."""
    name = site.get("name")
    named = isinstance(name, str) and path != "name" and _NAME.fullmatch(name)
    return f"{where}.{path} ({name})" if named else f"{where}.{path}"


def _duplicates(what: str, values: list[tuple[str, Any]]) -> Iterator[str]:
    """Yield who has what another has; texts are the same whatever the case of their letters."""
    first: dict[Any, str] = {}
    for where, value in values:
        key = value.lower() if isinstance(value, str) else value
        if key in first:
            yield f"{where}: the {what} {value!r} is there twice; {first[key]} has it already"
        first.setdefault(key, where)


def site_errors(sites: object, variable: str = "slipway_sites") -> list[str]:
    """Return what is wrong with the sites: the variable, its value (no secret), what is allowed.

    All mistakes are told at once. Which time zones there are is for ``unknown_timezones`` to say.
    """
    if not isinstance(sites, list):
        return [f"{variable}: {_shown(sites)} is not allowed; give a list of sites"]
    errors: list[str] = []
    names: list[tuple[str, Any]] = []
    domains: list[tuple[str, Any]] = []
    uids: list[tuple[str, Any]] = []
    for index, site in enumerate(sites):
        where = f"{variable}[{index}]"
        if not isinstance(site, dict):
            errors.append(f"{where}: {_shown(site)} is not allowed; give a mapping with name, type and domain")
            continue
        mistakes, sound = _site_mistakes(site)
        errors += [f"{_place(where, path, site)}: {mistake}" for path, mistake in mistakes]
        people = _users(sound)
        for key, what in (("name", "user name"), ("email", "e-mail address")):
            errors += _duplicates(
                what, [(_place(where, f"{path}.{key}", site), user[key]) for path, user in people if key in user]
            )
        domains += [(_place(where, path, site), domain) for path, domain in _names(sound)]
        if "name" in sound:
            if "uid" in sound or sound["name"] not in dict(names).values():
                uids.append((_place(where, "uid", site), sound.get("uid", default_uid(sound["name"]))))
            names.append((_place(where, "name", site), sound["name"]))
    return [
        *errors,
        *_duplicates("name", names),
        *_duplicates("domain", domains),
        *_duplicates("uid", uids),
    ]


def unknown_timezones(
    sites: list[Site], there: list[str] | None, known: set[str] | None = None, variable: str = "slipway_sites"
) -> list[str]:
    """Return the sites whose time zone PHP won't know, given those of them that the host has.

    PHP has the same as the host, from the same archive. Where a host has none at all yet (``there`` is none), the
    controller's (``known``) count, as long as it has any.
    """
    if there is not None:
        zones = set(there)
    elif not (zones := available_timezones() if known is None else known):
        return []
    return [
        f"{_place(f'{variable}[{index}]', 'timezone', site)}: {site['timezone']!r} is not allowed; PHP has no such time"
        " zone here: give an IANA name that is in use, such as Europe/Berlin"
        for index, site in enumerate(sites)
        if "timezone" in site and site["timezone"] not in zones
    ]


def default_uid(name: str) -> int:
    """Return the user id of a site that was given none; it doesn't change when sites come and go."""
    return _UID_FIRST + zlib.crc32(name.encode()) % _UID_COUNT


def _secrets_of(site: Site) -> dict[str, str | None]:
    """Return the secrets of a site by name, with the value where the inventory gives one."""
    if site["type"] != "wordpress":
        return {}
    found = {f"{site['name']}_{key}": site.get(key) for key in sorted(_SECRET_KEYS - {"password"})}
    for user in [site["admin"], *site.get("users", [])]:
        found[f"{site['name']}_wordpress_{user['name']}"] = user.get("password")
    return found


def secret_names(sites: list[Site]) -> list[str]:
    """Return the names of the secrets that nobody gave, so that they have to be made."""
    return [name for site in sites for name, value in _secrets_of(site).items() if value is None]


def secret_paths(names: list[str], folder: str, check: bool = False) -> list[str]:
    """Return the files of these secrets on the controller.

    In check mode nothing may be written: a file that isn't there becomes ``/dev/null``, for which
    Ansible's ``password`` lookup makes a value without keeping it.
    """
    paths = [Path(folder, name) for name in names]
    return ["/dev/null" if check and not path.exists() else str(path) for path in paths]


def _certificate(site: Site, issuer: str) -> dict[str, str]:
    given = site.get("certificate", {})
    return {"issuer": "provided" if "file" in given else issuer, **given}


def complete_sites(sites: list[Site], made: dict[str, str], https_port: int = 443, issuer: str = "local") -> list[Site]:
    """Return the sites with every key; ``made`` holds the secrets nobody gave, by name.

    ``issuer`` issues the certificates of sites that don't name one.
    """
    port = "" if https_port == 443 else f":{https_port}"  # noqa: PLR2004 - the port of HTTPS
    result: list[Site] = []
    for site in sites:
        secrets = {name: made[name] if value is None else value for name, value in _secrets_of(site).items()}
        names = [site["domain"], *site.get("aliases", [])]
        full: Site = {
            "aliases": [],
            "uid": default_uid(site["name"]),
            **site,
            "certificate": _certificate(site, issuer),
            "names": names,
            "url": f"https://{site['domain']}{port}",
        }
        if site["type"] == "wordpress":
            people = {f"{site['name']}_wordpress_{u['name']}": u for u in [site["admin"], *site.get("users", [])]}
            admin, *users = [{**user, "password": secrets[name]} for name, user in people.items()]
            own = {key: secrets[f"{site['name']}_{key}"] for key in _SECRET_KEYS - {"password"}}
            full = {
                "language": "en_US",
                "timezone": "UTC",
                "permalinks": "/%postname%/",
                **full,
                **own,
                "admin": admin,
                "users": users,
            }
        result.append(full)
    return result


def foreign_accounts(sites: list[Site], users: dict[str, int], groups: dict[str, int]) -> list[str]:
    """Return the sites whose name or id a host gave to something else, with what has it.

    ``users`` and ``groups`` are the ids of the host's accounts. A site's own user and group have its name and its id.
    """
    errors = []
    for site in sites:
        own = (site["name"], int(site.get("uid", default_uid(site["name"]))))
        for kind, accounts in (("user", users), ("group", groups)):
            errors += [
                f"{own[0]} (uid {own[1]}): the host has the {kind} {name} with the id {number}"
                for name, number in accounts.items()
                if (name, number) != own and (name == own[0] or number == own[1])
            ]
    return errors


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "slipway_site_errors": site_errors,
            "slipway_unknown_timezones": unknown_timezones,
            "slipway_foreign_accounts": foreign_accounts,
            "slipway_nginx_lines": nginx_lines,
            "slipway_nginx_fault": nginx_fault,
            "slipway_nginx_option_faults": nginx_option_faults,
        }
