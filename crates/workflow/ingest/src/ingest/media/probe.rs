use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Seek as _};

use imagesize::{ImageType, reader_size, reader_type};
use lofty::config::ParseOptions;
use lofty::file::{AudioFile as _, FileType, TaggedFileExt as _};
use lofty::probe::Probe;
use serde::{Deserialize, Serialize};

use super::super::format::{MediaKind, media_kind};
use crate::IngestError;

/// What a look into a file found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Probed {
    /// IANA media type, by the file's content.
    pub(super) media_type: Option<Cow<'static, str>>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) duration_seconds: Option<f64>,
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<u32>,
}

/// Looks into a file as its name says; the inner error is why that could not be done.
pub(super) fn probe(name: &str, file: File) -> Result<Result<Probed, String>, IngestError> {
    let mut reader = BufReader::new(file);
    Ok(match media_kind(name) {
        None => Ok(Probed::default()),
        Some(MediaKind::Image) => {
            let found = image_type(name, &mut reader);
            reader.rewind().map_err(IngestError::stream(format!("read `{name}`")))?;
            found.and_then(|media_type| image(media_type, reader))
        }
        Some(MediaKind::Audio) => audio(reader),
    })
}

fn image_type(name: &str, reader: &mut BufReader<File>) -> Result<&'static str, String> {
    let found = reader_type(reader).map_err(|error| format!("it is no image that is known ({error})"))?;
    Ok(match found {
        ImageType::Bmp => "image/bmp",
        ImageType::Dds(_) => "image/vnd.ms-dds",
        ImageType::Exr => "image/aces",
        ImageType::Gif => "image/gif",
        // Both are the same container; only the codec inside differs.
        ImageType::Heif(_) if name.to_ascii_lowercase().ends_with(".avif") => "image/avif",
        ImageType::Heif(_) => "image/heif",
        ImageType::Ico => "image/vnd.microsoft.icon",
        ImageType::Jpeg => "image/jpeg",
        ImageType::Jxl => "image/jxl",
        ImageType::Png => "image/png",
        ImageType::Psd => "image/vnd.adobe.photoshop",
        ImageType::Tiff => "image/tiff",
        ImageType::Webp => "image/webp",
        other => return Err(format!("it is an image of a kind that is not kept ({other:?})")),
    })
}

fn image(media_type: &'static str, reader: BufReader<File>) -> Result<Probed, String> {
    let size = reader_size(reader).map_err(|error| format!("its size cannot be read ({error})"))?;
    let side = |pixels: usize| u32::try_from(pixels).map_err(|_| format!("it has {pixels} pixels on a side"));
    let (width, height) = (Some(side(size.width)?), Some(side(size.height)?));
    Ok(Probed { media_type: Some(media_type.into()), width, height, ..Probed::default() })
}

fn audio(reader: BufReader<File>) -> Result<Probed, String> {
    let broken = |error: &dyn std::fmt::Display| format!("it is no audio that can be read ({error})");
    // Tags may hold pictures of any size, and are not asked for.
    let options = ParseOptions::new().read_tags(false).read_cover_art(false);
    let probe = Probe::new(reader).options(options).guess_file_type().map_err(|error| broken(&error))?;
    let file = probe.read().map_err(|error| broken(&error))?;
    let media_type = match file.file_type() {
        FileType::Aac => "audio/aac",
        FileType::Aiff => "audio/aiff",
        FileType::Ape => "audio/x-ape",
        FileType::Flac => "audio/flac",
        FileType::Mpeg => "audio/mpeg",
        FileType::Mp4 => "audio/mp4",
        FileType::Mpc => "audio/x-musepack",
        FileType::Opus | FileType::Vorbis | FileType::Speex => "audio/ogg",
        FileType::Wav => "audio/wav",
        FileType::WavPack => "audio/x-wavpack",
        other => return Err(format!("it is audio of a kind that is not kept ({other:?})")),
    };
    let properties = file.properties();
    Ok(Probed {
        media_type: Some(media_type.into()),
        duration_seconds: Some(properties.duration().as_secs_f64()),
        sample_rate: properties.sample_rate(),
        channels: properties.channels().map(u32::from),
        ..Probed::default()
    })
}
