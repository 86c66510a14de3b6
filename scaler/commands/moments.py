"""Parses and formats times for people. Pure: the current time and the time zone are arguments."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from scaler.core.errors import ScalerError

FORMS = "03:00, 'yesterday 03:00', -30m, -1h30m, now, 2026-11-28T03:00 or 2026-11-28T03:00Z"
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_ZONE = r"(?P<zone>\s?Z|\s?UTC|[+-]\d{2}:?\d{2})?"
_CLOCK = re.compile(
    rf"(?:(?P<day>today|yesterday)[ T])?(?P<clock>\d{{1,2}}:\d{{2}}(?::\d{{2}})?){_ZONE}", re.IGNORECASE
)


class MomentError(ScalerError):
    """A time that cannot be parsed, or does not exist."""

    code = "INVALID_ARGUMENT"


def moment(text: str, now: float, zone: tzinfo | None = None, name: str = "--at") -> float:
    """Return the Unix time of `text` at `now`, in `zone` (None: this machine's) unless it has its own zone.

    A time of day alone means the last one in the past: at 02:00, 03:00 is yesterday's. A time that exists twice, at the
    end of summer time, means the later one. Raises `MomentError`, also for a time in the future.
    """
    text = text.strip()
    try:
        found = _read(text, now, zone)
    except (ValueError, OverflowError) as error:
        raise MomentError(f"{name}: {text!r} is no time ({error}); write {FORMS}") from None
    if found is None:
        raise MomentError(f"{name}: {text!r} is no time; write {FORMS}")
    if found > now + 1:
        raise MomentError(f"{name}: {shown(found, zone)} is still to come; it is {shown(now, zone)}")
    return found


def seconds(text: str, name: str) -> float:
    """Return the duration in `text`, such as `15m` or `1h30m`, in seconds; raises `MomentError`."""
    match = _AGO.fullmatch(text.strip())
    found = _length(match) if match else 0
    if not found:
        raise MomentError(f"{name}: {text!r} is no length of time; write 15m, 90s or 1h30m")
    return float(found)


def _length(match: re.Match[str]) -> int:
    return sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True))


def _read(text: str, now: float, zone: tzinfo | None) -> float | None:
    if text.casefold() == "now":
        return now
    if text.startswith("-"):
        match = _AGO.fullmatch(text[1:].removesuffix(" ago"))
        return now - _length(match) if match and len(text) > 1 else None
    if match := _CLOCK.fullmatch(text):
        return _of_day(match, now, _zone(match["zone"]) or zone)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", text):
        return _unix(datetime.fromisoformat(re.sub(r"\s?(UTC)$", "Z", text, flags=re.IGNORECASE)), zone)
    return None


def _of_day(match: re.Match[str], now: float, zone: tzinfo | None) -> float:
    clock = time.fromisoformat(match["clock"].zfill(5) if match["clock"].count(":") == 1 else match["clock"].zfill(8))
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    day = (match["day"] or "").casefold()
    if day:
        return _unix(datetime.combine(today - timedelta(days=day == "yesterday"), clock), zone)
    found = _unix(datetime.combine(today, clock), zone)
    return found if found <= now else _unix(datetime.combine(_before(today), clock), zone)


def _before(day: date) -> date:
    return day - timedelta(days=1)


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    text = text.strip().upper()
    return UTC if text in {"Z", "UTC"} else datetime.strptime(text, "%z").tzinfo


def _unix(local: datetime, zone: tzinfo | None) -> float:
    """Return the Unix time of `local`; raises `MomentError` for a time that summer time skips."""
    if local.tzinfo is not None:
        return local.timestamp()
    local = local.replace(fold=1)
    aware = local.astimezone() if zone is None else local.replace(tzinfo=zone)
    found = aware.timestamp()
    back = datetime.fromtimestamp(found, UTC).astimezone(zone)
    if back.replace(tzinfo=None, fold=0) != local.replace(fold=0):
        raise ValueError("clocks were put forward then, so it never was")
    return found


def shown(at: float, zone: tzinfo | None = None) -> str:
    """Return `at` with its date and time zone: `2026-11-28 03:00:00 CET (UTC+01:00)`."""
    local = datetime.fromtimestamp(at, UTC).astimezone(zone)
    offset = f"{local:%z}"
    name = local.tzname() or ""
    if offset == "+0000":
        return f"{local:%Y-%m-%d %H:%M:%S} UTC"
    whole = f"UTC{offset[:3]}:{offset[3:5]}"
    return f"{local:%Y-%m-%d %H:%M:%S} {whole if name in {'', whole} or not name.isalpha() else f'{name} ({whole})'}"


def clock_time(at: float, day_of: float, zone: tzinfo | None = None) -> str:
    """Return `at` as a time of day, with its date if that differs from the date of `day_of`."""
    local, there = (datetime.fromtimestamp(each, UTC).astimezone(zone) for each in (at, day_of))
    return f"{local:%H:%M:%S}" if local.date() == there.date() else f"{local:%m-%d %H:%M:%S}"
