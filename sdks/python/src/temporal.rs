//! Dates, times and time zones, to bytes and back.
//!
//! The wall clock and its zone are stored, not an instant: a meeting at nine in Paris stays at nine in Paris, with its
//! `fold`, when the rules of that zone change. Only zones that can be named are stored, by their offset or by their key.

use cachekit_runtime::native::{Reader, Token, Writer, types};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::decode::{Fail, text};
use crate::failure::{Step, Stop};
use crate::types::{Known, datetime_api, known, must_propagate, require};

const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;
/// 9999-12-31, the last day that Python knows.
const LAST_DAY: i64 = 3_652_059;
const DAYS_IN_400_YEARS: i64 = 146_097;

/// Writes a `datetime.date`.
///
/// # Safety
/// `date` is an exact `datetime.date`.
pub(crate) unsafe fn write_date(out: &mut Writer, date: *mut ffi::PyObject) -> Step {
    out.ext(types::DATE)?;
    // SAFETY: the caller's.
    out.int(unsafe { ordinal_of(date) })?;
    Ok(())
}

/// Writes a `datetime.datetime`.
///
/// # Safety
/// `moment` is an exact `datetime.datetime`.
pub(crate) unsafe fn write_datetime(out: &mut Writer, moment: &Bound<'_, PyAny>) -> Step {
    let object = moment.as_ptr();
    // SAFETY: the caller's; a date's fields begin a datetime, too.
    let (micros, fold, zone) = unsafe {
        let clock = micros_of_day(
            ffi::PyDateTime_DATE_GET_HOUR(object),
            ffi::PyDateTime_DATE_GET_MINUTE(object),
            ffi::PyDateTime_DATE_GET_SECOND(object),
            ffi::PyDateTime_DATE_GET_MICROSECOND(object),
        );
        let micros = (ordinal_of(object) - 1) * DAY + clock;
        let fold = ffi::PyDateTime_DATE_GET_FOLD(object) != 0;
        (micros, fold, ffi::PyDateTime_DATE_GET_TZINFO(object))
    };
    out.ext(types::DATETIME)?;
    out.int(micros)?;
    out.bool(fold)?;
    // SAFETY: the zone lives as long as what it belongs to, which is held.
    unsafe { write_zone(out, moment, zone) }
}

/// Writes a `datetime.time`.
///
/// # Safety
/// `time` is an exact `datetime.time`.
pub(crate) unsafe fn write_time(out: &mut Writer, time: &Bound<'_, PyAny>) -> Step {
    let object = time.as_ptr();
    // SAFETY: the caller's.
    let (micros, fold, zone) = unsafe {
        let micros = micros_of_day(
            ffi::PyDateTime_TIME_GET_HOUR(object),
            ffi::PyDateTime_TIME_GET_MINUTE(object),
            ffi::PyDateTime_TIME_GET_SECOND(object),
            ffi::PyDateTime_TIME_GET_MICROSECOND(object),
        );
        let fold = ffi::PyDateTime_TIME_GET_FOLD(object) != 0;
        (micros, fold, ffi::PyDateTime_TIME_GET_TZINFO(object))
    };
    out.ext(types::TIME)?;
    out.int(micros)?;
    out.bool(fold)?;
    // SAFETY: as above.
    unsafe { write_zone(out, time, zone) }
}

/// Writes a `datetime.timedelta`.
///
/// # Safety
/// `delta` is an exact `datetime.timedelta`.
pub(crate) unsafe fn write_delta(out: &mut Writer, delta: *mut ffi::PyObject) -> Step {
    // SAFETY: the caller's.
    let parts = unsafe {
        [
            ffi::PyDateTime_DELTA_GET_DAYS(delta),
            ffi::PyDateTime_DELTA_GET_SECONDS(delta),
            ffi::PyDateTime_DELTA_GET_MICROSECONDS(delta),
        ]
    };
    out.ext(types::TIMEDELTA)?;
    for part in parts {
        out.int(i64::from(part))?;
    }
    Ok(())
}

/// # Safety
/// `zone` is `None` or a live `tzinfo`, which `owner` keeps alive.
unsafe fn write_zone(out: &mut Writer, owner: &Bound<'_, PyAny>, zone: *mut ffi::PyObject) -> Step {
    let py = owner.py();
    // SAFETY: the caller's.
    let zone = unsafe { Bound::from_borrowed_ptr(py, zone) };
    if zone.is_none() {
        out.nil()?;
        return Ok(());
    }
    if zone.as_ptr() == datetime_api(py)?.TimeZone_UTC {
        out.array(2)?;
        out.int(0)?;
        out.nil()?;
        return Ok(());
    }
    let refuse = |reason: &str| Err(Stop::refused(&zone, reason).within(owner.as_ptr(), ".tzinfo"));
    match known(py, zone.get_type_ptr()) {
        Some(Known::TimeZone) => {
            let parts = zone.call_method0(crate::once::text!(py, "__getinitargs__"))?;
            let parts = parts.cast_into::<PyTuple>().map_err(PyErr::from)?;
            let offset = parts.get_item(0)?;
            if known(py, offset.get_type_ptr()) != Some(Known::TimeDelta) {
                return refuse("its offset is not an exact timedelta");
            }
            out.array(2)?;
            // SAFETY: the type was just checked.
            out.int(unsafe { micros_of_delta(offset.as_ptr()) })?;
            match parts.get_item(1) {
                Ok(name) => match name.cast::<PyString>().map(|name| name.to_str()) {
                    Ok(Ok(name)) => out.str(name)?,
                    _ => return refuse("its name is not valid text"),
                },
                Err(_) => out.nil()?,
            }
            Ok(())
        }
        Some(Known::ZoneInfo) => {
            let key = zone.getattr(crate::once::text!(py, "key"))?;
            match key.cast_exact::<PyString>().map(|key| key.to_str()) {
                Ok(Ok(key)) => {
                    out.str(key)?;
                    Ok(())
                }
                _ => refuse("it has no key to find it by; make it with ZoneInfo(key)"),
            }
        }
        _ => refuse(
            "its rules cannot be rebuilt from bytes; use zoneinfo.ZoneInfo or datetime.timezone",
        ),
    }
}

/// Reads what [`write_date`] wrote after the type byte.
pub(crate) fn read_date<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
) -> Result<Bound<'py, PyAny>, Fail> {
    let ordinal = reader.int()?;
    if !(1..=LAST_DAY).contains(&ordinal) {
        return Err(reader.corrupt("a date is out of range").into());
    }
    let (year, month, day) = civil(ordinal);
    let api = datetime_api(py)?;
    // SAFETY: the C functions of datetime; null comes with an exception.
    unsafe {
        let date = (api.Date_FromDate)(year, month, day, api.DateType);
        Ok(Bound::from_owned_ptr_or_err(py, date)?)
    }
}

/// Reads what [`write_datetime`] wrote after the type byte.
pub(crate) fn read_datetime<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
) -> Result<Bound<'py, PyAny>, Fail> {
    let micros = reader.int()?;
    let fold = reader.bool()?;
    if !(0..LAST_DAY * DAY).contains(&micros) {
        return Err(reader.corrupt("a datetime is out of range").into());
    }
    let zone = read_zone(py, reader)?;
    let (year, month, day) = civil(micros / DAY + 1);
    let [hour, minute, second, micro] = clock(micros % DAY);
    let api = datetime_api(py)?;
    // SAFETY: the C functions of datetime; the zone is `None` or a tzinfo; null comes with an exception.
    unsafe {
        let moment = (api.DateTime_FromDateAndTimeAndFold)(
            year,
            month,
            day,
            hour,
            minute,
            second,
            micro,
            zone.as_ptr(),
            i32::from(fold),
            api.DateTimeType,
        );
        Ok(Bound::from_owned_ptr_or_err(py, moment)?)
    }
}

/// Reads what [`write_time`] wrote after the type byte.
pub(crate) fn read_time<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
) -> Result<Bound<'py, PyAny>, Fail> {
    let micros = reader.int()?;
    let fold = reader.bool()?;
    if !(0..DAY).contains(&micros) {
        return Err(reader.corrupt("a time is out of range").into());
    }
    let zone = read_zone(py, reader)?;
    let [hour, minute, second, micro] = clock(micros);
    let api = datetime_api(py)?;
    // SAFETY: as in `read_datetime`.
    unsafe {
        let time = (api.Time_FromTimeAndFold)(
            hour,
            minute,
            second,
            micro,
            zone.as_ptr(),
            i32::from(fold),
            api.TimeType,
        );
        Ok(Bound::from_owned_ptr_or_err(py, time)?)
    }
}

/// Reads what [`write_delta`] wrote after the type byte.
pub(crate) fn read_delta<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
) -> Result<Bound<'py, PyAny>, Fail> {
    let (days, seconds, micros) = (reader.int()?, reader.int()?, reader.int()?);
    let normal = (-999_999_999..=999_999_999).contains(&days)
        && (0..86_400).contains(&seconds)
        && (0..SECOND).contains(&micros);
    if !normal {
        return Err(reader.corrupt("a timedelta is out of range").into());
    }
    make_delta(py, days as i32, seconds as i32, micros as i32)
}

fn make_delta(
    py: Python<'_>,
    days: i32,
    seconds: i32,
    micros: i32,
) -> Result<Bound<'_, PyAny>, Fail> {
    let api = datetime_api(py)?;
    // SAFETY: the C functions of datetime; null comes with an exception.
    unsafe {
        let delta = (api.Delta_FromDelta)(days, seconds, micros, 1, api.DeltaType);
        Ok(Bound::from_owned_ptr_or_err(py, delta)?)
    }
}

fn read_zone<'py>(py: Python<'py>, reader: &mut Reader<'_>) -> Result<Bound<'py, PyAny>, Fail> {
    let zone = match reader.token()? {
        Token::Nil => return Ok(py.None().into_bound(py)),
        Token::Array(2) => read_fixed_zone(py, reader)?,
        Token::Str(key) => {
            let key = text(py, key, reader)?;
            let class = require(py, Known::ZoneInfo)?;
            // SAFETY: `require` gives a live type object.
            unsafe { Bound::from_borrowed_ptr(py, class.cast()) }.call1((key,))
        }
        _ => return Err(reader.corrupt("a time zone is none").into()),
    };
    zone.map_err(|error| {
        if must_propagate(py, &error) {
            error.into()
        } else {
            let reason = format!("a time zone is not known here: {}", error.value(py));
            reader.corrupt(&reason).into()
        }
    })
}

fn read_fixed_zone<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
) -> Result<PyResult<Bound<'py, PyAny>>, Fail> {
    let offset = reader.int()?;
    let name = match reader.token()? {
        Token::Nil => None,
        Token::Str(name) => Some(text(py, name, reader)?),
        _ => return Err(reader.corrupt("the name of a time zone is no text").into()),
    };
    if !(-DAY..DAY).contains(&offset) {
        return Err(reader
            .corrupt("the offset of a time zone is out of range")
            .into());
    }
    let (days, rest) = (offset.div_euclid(DAY), offset.rem_euclid(DAY));
    let delta = make_delta(
        py,
        days as i32,
        (rest / SECOND) as i32,
        (rest % SECOND) as i32,
    )?;
    let name = name.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
    let api = datetime_api(py)?;
    // SAFETY: the C functions of datetime; the name may be null; null comes with an exception.
    Ok(unsafe {
        Bound::from_owned_ptr_or_err(py, (api.TimeZone_FromTimeZone)(delta.as_ptr(), name))
    })
}

/// # Safety
/// `date` is a `datetime.date` or a `datetime.datetime`.
unsafe fn ordinal_of(date: *mut ffi::PyObject) -> i64 {
    // SAFETY: the caller's.
    let (year, month, day) = unsafe {
        (
            ffi::PyDateTime_GET_YEAR(date),
            ffi::PyDateTime_GET_MONTH(date),
            ffi::PyDateTime_GET_DAY(date),
        )
    };
    ordinal(i64::from(year), i64::from(month), i64::from(day))
}

/// # Safety
/// `delta` is a `datetime.timedelta`, of less than a million days.
unsafe fn micros_of_delta(delta: *mut ffi::PyObject) -> i64 {
    // SAFETY: the caller's.
    unsafe {
        i64::from(ffi::PyDateTime_DELTA_GET_DAYS(delta)) * DAY
            + i64::from(ffi::PyDateTime_DELTA_GET_SECONDS(delta)) * SECOND
            + i64::from(ffi::PyDateTime_DELTA_GET_MICROSECONDS(delta))
    }
}

fn micros_of_day(hour: i32, minute: i32, second: i32, micro: i32) -> i64 {
    i64::from((hour * 60 + minute) * 60 + second) * SECOND + i64::from(micro)
}

fn clock(micros: i64) -> [i32; 4] {
    let seconds = (micros / SECOND) as i32;
    [
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        (micros % SECOND) as i32,
    ]
}

/// Days before the first of each month, in a year that starts in March: leap days then end a year and shift nothing.
const BEFORE_MONTH: [i64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

/// The proleptic Gregorian ordinal, 0001-01-01 being 1.
const fn ordinal(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 306 days lie between the first of March of the year 0 and 0001-01-01.
    year * 365 + leap_days + BEFORE_MONTH[month.unsigned_abs() as usize] + day - 306
}

/// The year, month and day of an ordinal that is at least 1.
fn civil(ordinal: i64) -> (i32, i32, i32) {
    let days = ordinal + 305;
    let era = days / DAYS_IN_400_YEARS;
    let in_era = days % DAYS_IN_400_YEARS;
    // A first guess is one year too late at most, on the last days of a year.
    let mut year = in_era / 365;
    while in_era < year * 365 + year / 4 - year / 100 + year / 400 {
        year -= 1;
    }
    let in_year = in_era - (year * 365 + year / 4 - year / 100 + year / 400);
    let begun = BEFORE_MONTH.partition_point(|before| *before <= in_year);
    let day = in_year - BEFORE_MONTH[begun - 1] + 1;
    let month = begun.cast_signed() as i64 - 1;
    let year = era * 400 + year;
    let (year, month) = if month >= 10 {
        (year + 1, month - 9)
    } else {
        (year, month + 3)
    };
    (year as i32, month as i32, day as i32)
}
