//! `[data.NAME]` as the reader of sources wants it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_config::{
    DataSource, Header as HeaderRowSetting, HeaderValue as HeaderSetting, JsonApi, OneOrMany, Paging as PagingSetting,
    Sheet,
};
use ropewalk_connectors::{
    ConnectionOptions, Cursor, FetchRequest, Header, HeaderValue, JsonApiRequest, MisfitPolicy, MongoRequest, Paging,
    Partition, PlaceholderError, SqlRequest, variable_name, with_environment,
};
use ropewalk_ingest::{Content, HeaderRow, IngestSettings, Limits, SheetName, Sheets, Source, TableFormat};
use ropewalk_types::Diagnose;

/// Under which name connectors look for the password of a database.
const PASSWORD: &str = "DATABASE_PASSWORD";
/// Variables that connections may need, by the beginnings of their names.
const FAMILIES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
/// Variables of proxies, which are as often written in lower case.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
const DATABASES: [&str; 5] = ["postgres", "postgresql", "mysql", "mariadb", "sqlite"];

const FORMATS: [TableFormat; 10] = [
    TableFormat::Csv,
    TableFormat::Tsv,
    TableFormat::Json,
    TableFormat::JsonLines,
    TableFormat::Parquet,
    TableFormat::Arrow,
    TableFormat::Xlsx,
    TableFormat::Xlsb,
    TableFormat::Xls,
    TableFormat::Ods,
];

/// What a table of the project file says does not fit together.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct SourceError {
    what: String,
    hint: String,
}

impl SourceError {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl Diagnose for SourceError {
    fn code(&self) -> &'static str {
        "data.source"
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// The settings of an ingest of the project in `root`, without a network.
pub(crate) fn settings(data: &DataSource, root: &Path, scratch: PathBuf) -> Result<IngestSettings, SourceError> {
    let mut settings = IngestSettings::new(source(data, root)?, scratch);
    settings.content = match data.content.as_deref() {
        None => Content::Detect,
        Some("tables") => Content::Tables,
        Some("files") => Content::Files,
        Some(other) => return Err(SourceError::new(format!("content `{other}` is not known"), "use tables or files")),
    };
    settings.format = data.format.as_deref().map(table_format).transpose()?;
    settings.sheets = sheets(data.sheet.as_ref());
    settings.header = header(data.header.as_ref())?;
    dialect(data, &mut settings)?;
    if let Some(null_texts) = &data.null_texts {
        settings.null_texts.clone_from(null_texts);
    }
    if let Some(tolerance) = data.type_tolerance {
        settings.type_tolerance = tolerance;
    }
    if let Some(share) = data.max_quarantined {
        settings.max_quarantined = share;
    }
    settings.inferred_records = data.inferred_records;
    limits(data, &mut settings.limits);
    // As rows of files: what does not fit is set aside.
    let misfits = MisfitPolicy::Collect { limit: settings.limits.quarantined_rows };
    let sample = data.inferred_records.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    match &mut settings.source {
        Source::Sql(request) => request.misfits = misfits,
        Source::Documents(request) => {
            request.misfits = misfits;
            request.sample_documents = sample.unwrap_or(request.sample_documents);
        }
        Source::JsonApi(request) => {
            request.misfits = misfits;
            request.sample_rows = sample.unwrap_or(request.sample_rows);
        }
        Source::Files(_) | Source::Remote(_) => {}
    }
    Ok(settings)
}

/// Whether the source lies on this disk, so that its content says whether it changed.
pub(crate) fn is_local(data: &DataSource) -> bool {
    !matches!(&data.source, OneOrMany::One(url) if scheme(url).is_some_and(|scheme| scheme != "file"))
}

/// The file that a source is a database of, if it is one of this disk.
pub(crate) fn database_file(data: &DataSource, root: &Path) -> Option<PathBuf> {
    let OneOrMany::One(url) = &data.source else { return None };
    let path = url.strip_prefix("sqlite:")?;
    Some(root.join(path.strip_prefix("//").unwrap_or(path)))
}

/// The source with what its URL takes from the environment.
pub(crate) fn from_environment(
    data: &DataSource,
    environment: &BTreeMap<String, String>,
) -> Result<DataSource, SourceError> {
    let OneOrMany::One(url) = &data.source else { return Ok(data.clone()) };
    if is_local(data) {
        return Ok(data.clone());
    }
    let whole = with_environment(url, |name| environment.get(name).cloned()).map_err(|error| {
        let hint = match error {
            PlaceholderError::Name(_) => "write letters, digits and `_` between the braces, no digit first",
            PlaceholderError::Missing(_) => "set it to the secret and run again",
            PlaceholderError::Shown(_) => {
                "only values of parameters that hold secrets come from the environment, as in ?token=${TOKEN}"
            }
        };
        SourceError::new(error.to_string(), hint)
    })?;
    Ok(DataSource { source: OneOrMany::One(whole), ..data.clone() })
}

/// Lets what was received of `source` be found by `data` as it is written, whatever the environment gives for it now.
pub(crate) fn known_as(source: &mut Source, data: &DataSource) {
    let OneOrMany::One(url) = &data.source else { return };
    let known_as = match source {
        Source::Files(_) => return,
        Source::Remote(request) => &mut request.known_as,
        Source::Sql(request) => &mut request.known_as,
        Source::Documents(request) => &mut request.known_as,
        Source::JsonApi(request) => &mut request.known_as,
    };
    *known_as = Some(url.clone());
}

/// The settings and secrets that connections of this source may use: those of the families, and what it names.
pub(crate) fn connection_options(
    data: &DataSource,
    environment: &BTreeMap<String, String>,
) -> Result<ConnectionOptions, SourceError> {
    let missing = |name: &str| {
        SourceError::new(format!("the environment variable `{name}` is not set"), "set it to the secret and run again")
    };
    let family = |name: &str| FAMILIES.iter().any(|family| name.to_ascii_uppercase().starts_with(family));
    let mut options: Vec<(String, String)> = Vec::new();
    for (name, value) in environment {
        let upper = name.to_ascii_uppercase();
        if PROXIES.contains(&upper.as_str()) {
            // Where both are set, the lower case comes later and counts, as it does for curl.
            options.push((upper, value.clone()));
        } else if family(name) {
            options.push((name.clone(), value.clone()));
        }
    }
    for header in data.headers.values() {
        if let HeaderSetting::Environment { env, .. } = header {
            options.push((env.clone(), environment.get(env).ok_or_else(|| missing(env))?.clone()));
        }
    }
    if let Some(password) = &data.password {
        let value = environment.get(&password.env).ok_or_else(|| missing(&password.env))?;
        options.push((PASSWORD.to_owned(), value.clone()));
    }
    Ok(ConnectionOptions::new(options))
}

fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    // One letter is a drive of Windows.
    let letters = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    letters.then_some(scheme)
}

fn source(data: &DataSource, root: &Path) -> Result<Source, SourceError> {
    let url = match &data.source {
        OneOrMany::Many(paths) => return Ok(Source::Files(paths.clone())),
        OneOrMany::One(one) => one,
    };
    match scheme(url) {
        None => Ok(Source::Files(vec![url.clone()])),
        Some("file") => Ok(Source::Files(vec![url.trim_start_matches("file:").to_owned()])),
        Some(scheme) if DATABASES.contains(&scheme) => sql(data, url, root),
        Some("mongodb" | "mongodb+srv") => documents(data, url, root),
        Some("http" | "https") if data.api.is_some() => json_api(data, url),
        Some("http" | "https" | "s3" | "gs" | "az") => {
            let mut request = FetchRequest::new(url.clone());
            request.headers = headers(data)?;
            Ok(Source::Remote(request))
        }
        Some(other) => Err(SourceError::new(
            format!("sources of `{other}:` are not known"),
            "use a path, https, s3, gs, az, postgres, mysql, mariadb, sqlite or mongodb",
        )),
    }
}

fn sql(data: &DataSource, url: &str, root: &Path) -> Result<Source, SourceError> {
    let query = data.query.clone();
    let query = query.ok_or_else(|| SourceError::new("a database needs a `query`", "write query = \"SELECT …\""))?;
    let mut request = SqlRequest::new(url.to_owned(), query);
    root.clone_into(&mut request.directory);
    request.partition = data.partition.as_ref().map(|partition| Partition {
        column: partition.column.clone(),
        count: partition.count,
        lower: partition.lower.clone(),
        upper: partition.upper.clone(),
    });
    request.cursor = data.cursor.clone().map(|column| Cursor { column, after: None });
    Ok(Source::Sql(request))
}

fn documents(data: &DataSource, url: &str, root: &Path) -> Result<Source, SourceError> {
    let collection = data.collection.clone();
    let collection = collection
        .ok_or_else(|| SourceError::new("a document store needs a `collection`", "write collection = \"NAME\""))?;
    let mut request = MongoRequest::new(url.to_owned(), collection);
    root.clone_into(&mut request.directory);
    request.filter.clone_from(&data.filter);
    request.projection.clone_from(&data.projection);
    Ok(Source::Documents(request))
}

fn json_api(data: &DataSource, url: &str) -> Result<Source, SourceError> {
    let JsonApi { items, paging, pages, allowed_hosts } = data.api.clone().unwrap_or_default();
    let mut request = JsonApiRequest::new(url.to_owned());
    request.headers = headers(data)?;
    request.items = items;
    request.paging = paging.map_or(Paging::None, self::paging);
    request.allowed_hosts = allowed_hosts;
    if let Some(pages) = pages {
        request.limits.pages = pages;
    }
    Ok(Source::JsonApi(request))
}

fn paging(paging: PagingSetting) -> Paging {
    match paging {
        PagingSetting::LinkHeader {} => Paging::LinkHeader,
        PagingSetting::NextUrl { pointer } => Paging::NextUrl { pointer },
        PagingSetting::PageNumber { parameter, first } => Paging::PageNumber { parameter, first },
        PagingSetting::Offset { parameter, limit_parameter, limit } => {
            Paging::Offset { parameter, limit_parameter, limit }
        }
        PagingSetting::Cursor { parameter, pointer } => Paging::CursorToken { parameter, pointer },
    }
}

fn headers(data: &DataSource) -> Result<Vec<Header>, SourceError> {
    let header = |(name, value): (&String, &HeaderSetting)| {
        let value = match value {
            HeaderSetting::Plain(text) => {
                check_plain(name, text)?;
                HeaderValue::Plain(text.clone())
            }
            HeaderSetting::Environment { env, prefix } => {
                HeaderValue::Option { name: env.clone(), prefix: prefix.clone() }
            }
        };
        Ok::<_, SourceError>(Header { name: name.clone(), value })
    };
    data.headers.iter().map(header).collect()
}

/// Refuses `${NAME}` in a header, which would be sent as it is written.
fn check_plain(name: &str, text: &str) -> Result<(), SourceError> {
    let Some((prefix, variable)) = text.split_whitespace().find_map(|word| {
        let variable = variable_name(word)?;
        Some((text.split_once(word)?.0, variable))
    }) else {
        return Ok(());
    };
    let prefix = if prefix.is_empty() { String::new() } else { format!(", prefix = \"{prefix}\"") };
    Err(SourceError::new(
        format!("the header `{name}` takes nothing from the environment by `${{{variable}}}`"),
        format!("write {name} = {{ env = \"{variable}\"{prefix} }}"),
    ))
}

fn table_format(name: &str) -> Result<TableFormat, SourceError> {
    FORMATS.into_iter().find(|format| format.as_str() == name).ok_or_else(|| {
        let known: Vec<&str> = FORMATS.iter().map(|format| format.as_str()).collect();
        SourceError::new(format!("format `{name}` is not known"), format!("use one of {}", known.join(", ")))
    })
}

fn sheets(sheet: Option<&Sheet>) -> Sheets {
    fn one(sheet: &Sheet) -> Vec<SheetName> {
        match sheet {
            Sheet::Number(number) => vec![SheetName::Number(*number)],
            Sheet::Name(name) => vec![SheetName::Name(name.clone())],
            Sheet::Many(sheets) => sheets.iter().flat_map(one).collect(),
        }
    }
    match sheet {
        None => Sheets::First,
        Some(Sheet::Name(name)) if name == "*" => Sheets::All,
        Some(sheet) => Sheets::Chosen(one(sheet)),
    }
}

fn header(header: Option<&HeaderRowSetting>) -> Result<HeaderRow, SourceError> {
    match header {
        None => Ok(HeaderRow::First),
        Some(HeaderRowSetting::Row(row)) => Ok(HeaderRow::Row(*row)),
        Some(HeaderRowSetting::Word(word)) if word == "none" => Ok(HeaderRow::Absent),
        Some(HeaderRowSetting::Word(word)) => {
            Err(SourceError::new(format!("header `{word}` is not known"), "write a row's number, or \"none\""))
        }
    }
}

fn dialect(data: &DataSource, settings: &mut IngestSettings) -> Result<(), SourceError> {
    let dialect = &mut settings.dialect;
    dialect.delimiter = data.delimiter.or(dialect.delimiter);
    dialect.comment = data.comment.or(dialect.comment);
    dialect.encoding = data.encoding.clone().or(dialect.encoding.take());
    if let Some(quote) = &data.quote {
        let mut characters = quote.chars();
        dialect.quote = characters.next();
        if characters.next().is_some() {
            let what = format!("`{quote}` is no quote");
            return Err(SourceError::new(what, "write one character, or \"\" for none"));
        }
    }
    Ok(())
}

fn limits(data: &DataSource, limits: &mut Limits) {
    let Some(wanted) = &data.limits else { return };
    limits.entries = wanted.entries.unwrap_or(limits.entries);
    limits.total_bytes = wanted.total_bytes.unwrap_or(limits.total_bytes);
    limits.held_bytes = wanted.held_bytes.unwrap_or(limits.held_bytes);
    limits.ratio = wanted.ratio.unwrap_or(limits.ratio);
    limits.archive_depth = wanted.archive_depth.unwrap_or(limits.archive_depth);
    limits.files = wanted.files.unwrap_or(limits.files);
    limits.quarantined_rows = wanted.quarantined_rows.unwrap_or(limits.quarantined_rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> DataSource {
        let file = format!("[project]\nname = \"x\"\n[data.x]\n{text}\n");
        let file = ropewalk_config::ProjectFile::parse("f", &file).expect("project file");
        file.data.into_values().next().expect("data")
    }

    fn read(text: &str) -> Result<IngestSettings, SourceError> {
        settings(&data(text), Path::new("/project"), PathBuf::from("scratch"))
    }

    #[test]
    fn a_source_is_what_its_url_says() {
        assert!(matches!(read("source = \"a.csv\"").expect("path").source, Source::Files(paths) if paths == ["a.csv"]));
        assert!(
            matches!(read("source = [\"a\", \"b/*.csv\"]").expect("paths").source, Source::Files(paths) if paths.len() == 2)
        );
        assert!(matches!(read("source = \"s3://b/*.csv\"").expect("s3").source, Source::Remote(_)));
        let query = read("source = \"postgres://db/x\"\nquery = \"SELECT 1\"\ncursor = \"id\"").expect("sql").source;
        assert!(matches!(query, Source::Sql(request) if request.cursor.is_some()));
        assert!(matches!(
            read("source = \"https://x/y\"\napi = { items = \"/data\" }").expect("api").source,
            Source::JsonApi(_)
        ));
        assert!(read("source = \"postgres://db/x\"").unwrap_err().to_string().contains("query"));
        assert!(read("source = \"ftp://x\"").unwrap_err().to_string().contains("ftp"));
        assert!(is_local(&data("source = \"a.csv\"")) && !is_local(&data("source = \"gs://b/x\"")));
    }

    #[test]
    fn ways_of_reading_are_checked() {
        let settings =
            read("source = \"a.csv\"\nsheet = [1, \"two\"]\nheader = \"none\"\nquote = \"\"\ndelimiter = \";\"")
                .expect("settings");
        assert_eq!(settings.header, HeaderRow::Absent);
        assert_eq!((settings.dialect.quote, settings.dialect.delimiter), (None, Some(';')));
        assert!(matches!(settings.sheets, Sheets::Chosen(sheets) if sheets.len() == 2));
        for wrong in ["format = \"docx\"", "header = \"some\"", "content = \"all\"", "quote = \"''\""] {
            assert!(read(&format!("source = \"a\"\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_fit_is_set_aside_whatever_the_source() {
        let more = "inferred_records = 50\nlimits = { quarantined_rows = 7 }";
        let aside = MisfitPolicy::Collect { limit: 7 };
        let sql = read(&format!("source = \"sqlite:x.db\"\nquery = \"SELECT 1\"\n{more}")).expect("sql").source;
        assert!(
            matches!(sql, Source::Sql(request) if request.misfits == aside && request.directory == Path::new("/project"))
        );
        let api = read(&format!("source = \"https://x/y\"\napi = {{}}\n{more}")).expect("api").source;
        assert!(matches!(api, Source::JsonApi(request) if request.misfits == aside && request.sample_rows == 50));
        let mongo = read(&format!("source = \"mongodb://h/x\"\ncollection = \"c\"\n{more}")).expect("mongo").source;
        assert!(
            matches!(mongo, Source::Documents(request) if request.misfits == aside && request.sample_documents == 50)
        );
        let plain = read("source = \"mongodb://h/x\"\ncollection = \"c\"").expect("mongo").source;
        let million = MisfitPolicy::Collect { limit: 1_000_000 };
        assert!(
            matches!(plain, Source::Documents(request) if request.misfits == million && request.sample_documents == 1000)
        );
    }

    #[test]
    fn a_header_that_names_a_variable_in_its_text_is_refused() {
        let read =
            |value: &str| read(&format!("source = \"https://x/y\"\nheaders = {{ Authorization = \"{value}\" }}"));
        for (value, setting) in [
            ("${TOKEN}", "Authorization = { env = \"TOKEN\" }"),
            ("Bearer ${TOKEN}", "Authorization = { env = \"TOKEN\", prefix = \"Bearer \" }"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.to_string().contains("`Authorization`") && error.to_string().contains("${TOKEN}"), "{error}");
            assert_eq!(error.hint(), Some(format!("write {setting}")));
        }
        for value in ["Bearer $TOKEN", "${", "a${TOKEN}"] {
            assert!(read(value).is_ok(), "{value}");
        }
    }

    #[test]
    fn what_was_received_is_found_by_the_source_as_it_is_written() {
        let written = data("source = \"https://x/y?token=${TOKEN}\"");
        let key = |token: &str| {
            let environment = BTreeMap::from([("TOKEN".to_owned(), token.to_owned())]);
            let whole = from_environment(&written, &environment).expect("set");
            let mut source = source(&whole, Path::new("/project")).expect("source");
            known_as(&mut source, &written);
            let Source::Remote(request) = source else { panic!("no download") };
            assert!(request.url.ends_with(token), "{}", request.url);
            request.key()
        };
        assert_eq!(key("one"), key("two"));
    }

    #[test]
    fn bounds_are_texts_or_numbers() {
        let read = |bounds: &str| {
            let partition = format!("partition = {{ column = \"id\", count = 2, {bounds} }}");
            let source =
                read(&format!("source = \"sqlite:x.db\"\nquery = \"SELECT 1\"\n{partition}")).expect("sql").source;
            let Source::Sql(request) = source else { panic!("no database") };
            let Partition { lower, upper, .. } = request.partition.expect("partition");
            (lower.expect("lower"), upper.expect("upper"))
        };
        let texts = ("1".to_owned(), "1.5".to_owned());
        assert_eq!(read("lower = 1, upper = 1.5"), texts);
        assert_eq!(read("lower = \"1\", upper = \"1.5\""), texts);
    }

    #[test]
    fn proxies_are_found_in_either_case() {
        let data = data("source = \"https://x/y\"");
        let proxies = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = connection_options(&data, &environment).expect("options");
            PROXIES.map(|name| options.get(name).map(str::to_owned))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            proxies(&[("http_proxy", "http://p:1"), ("https_proxy", "http://p:2"), ("no_proxy", "localhost")]),
            [text("http://p:1"), text("http://p:2"), text("localhost")]
        );
        assert_eq!(proxies(&[("HTTP_PROXY", "http://p:1")]), [text("http://p:1"), None, None]);
        assert_eq!(proxies(&[("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://p:2")])[0], text("http://p:2"));
        assert_eq!(proxies(&[("FTP_PROXY", "http://p:1"), ("NO_PROXY_X", "x")]), [None, None, None]);
    }

    #[test]
    fn secrets_come_from_the_environment() {
        let data = data("source = \"postgres://me@db/x\"\nquery = \"SELECT 1\"\npassword = { env = \"ORDERS\" }");
        let missing = connection_options(&data, &BTreeMap::new()).unwrap_err();
        assert!(missing.to_string().contains("`ORDERS`"), "{missing}");
        let environment =
            BTreeMap::from([("ORDERS".to_owned(), "hush".to_owned()), ("OTHER".to_owned(), "x".to_owned())]);
        let options = connection_options(&data, &environment).expect("options");
        assert_eq!((options.get(PASSWORD), options.get("OTHER")), (Some("hush"), None));
        assert!(!format!("{options:?}").contains("hush"));
    }
}
