//! Courses: how the revisions of a product's files have spread in the course of time, noted by the tick, read by charts.
//!
//! Bounded whatever happens: so many files, samples and revisions. What is noted is derived from counters, so losing a
//! sample loses nothing else.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use ota_core::fleet::records::{FileCourse, FileSample};
use ota_core::fleet::{CounterKey, CounterPrefix, Key, Query, Record, StoreError, Stored, Table, Version};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;

use super::Server;
use super::commands::CommandError;
use crate::engine::Changes;
use crate::engine::catalog::{scan_all, terminated};
use crate::rules::course::{FILES_MAX, Thinning, end_now, file_sample, note};
use crate::rules::permission::{Action, Principal, Scope, permit};
use crate::rules::view::ProductView;

/// Under this number the course of the product as a whole is kept: no name has it.
const WHOLE: u32 = 0;

/// How a product's fleet has developed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetCourse {
    /// How many devices it had when, oldest first; the last point is now.
    pub devices: Vec<(Timestamp, u64)>,
    /// The course of each file, by name.
    pub files: Vec<FileLine>,
}

/// How the revisions of one file have spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// The file.
    pub file: Box<str>,
    /// What devices had when, oldest first; the last point is now.
    pub points: Vec<FilePoint>,
}

/// Which revisions of a file devices had at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePoint {
    /// When.
    pub at: Timestamp,
    /// Each revision and how many devices had it; `None` stands for all that were never released.
    pub revisions: Vec<(Option<Box<str>>, u64)>,
    /// Devices that had a released revision which too few had to be told apart.
    pub others: u64,
}

/// What was counted of one file, or of the product as a whole, under [`WHOLE`].
type Counts = BTreeMap<u32, FileSample>;

impl Server {
    /// How a product's fleet has developed, file by file and revision by revision: at most 193 points for each of at
    /// most 64 files, close together towards now and further apart the older they are. The last point is now.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn fleet_course(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
    ) -> Result<FleetCourse, CommandError> {
        self.permit(by, Action::View, product)?;
        let view = self.view(product).await?;
        let mut courses = self.courses(product).await?;
        let every = self.inner.config.course_every;
        for (number, sample) in self.count_fleet(product).await? {
            let (_, course) = courses.entry(number).or_default();
            end_now(&mut course.samples, sample, every, Thinning::FinerTowardsNow);
        }
        let whole = courses.remove(&WHOLE).map(|(_, course)| course.samples).unwrap_or_default();
        let devices = whole.into_iter().map(|sample| (sample.at, sample.others)).collect();
        let files = courses.into_iter().filter_map(|(number, (_, course))| {
            let points = course.samples.into_iter().map(|sample| FilePoint {
                at: sample.at,
                revisions: sample
                    .revisions
                    .into_iter()
                    .map(|line| (view.names.text(line.revision).map(Into::into), line.devices))
                    .collect(),
                others: sample.others,
            });
            Some(FileLine { file: view.names.text(number)?.into(), points: points.collect() })
        });
        Ok(FleetCourse { devices, files: files.collect() })
    }

    /// How many devices each product has that somebody may look at.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn fleet_sizes(&self, by: &Principal) -> Result<Vec<(ProductIdBuf, u64)>, CommandError> {
        let counters = self.inner.store.counters(&CounterPrefix::Devices).await?;
        let line = |(key, count)| match key {
            CounterKey::Devices { product } => {
                permit(by, Action::View, Scope::Product(&product)).ok()?;
                Some((product, u64::try_from(count).ok()?))
            }
            _ => None,
        };
        Ok(counters.into_iter().filter_map(line).collect())
    }

    /// Notes how the fleet stands, if it is time to.
    pub(super) async fn note_courses(&self, view: &ProductView) -> Result<(), StoreError> {
        let (now, every) = (self.now(), self.inner.config.course_every);
        let is_due = {
            let due = self.inner.courses_due.lock().unwrap_or_else(PoisonError::into_inner);
            due.get(&view.id).is_none_or(|due| now >= *due)
        };
        if !is_due {
            return Ok(());
        }
        let mut courses = self.courses(&view.id).await?;
        let mut counts = self.count_fleet(&view.id).await?;
        // What nobody has any more is said once.
        for number in courses.keys() {
            counts.entry(*number).or_insert_with(|| file_sample(&BTreeMap::new(), now));
        }
        let mut changes = Changes::default();
        let mut is_changed = false;
        for (number, sample) in counts {
            let (version, before) = courses.remove(&number).unwrap_or_default();
            let mut after = before.clone();
            // Another server may have noted it a moment ago.
            let is_due = after.samples.last().is_none_or(|last| now.since(last.at) >= every);
            if is_due && note(&mut after.samples, sample, every, Thinning::FinerTowardsNow) {
                let before = (version != Version(0)).then_some(Record::Course(before));
                changes.write(
                    Key::Course(view.id.clone(), number),
                    version,
                    before,
                    Some(Record::Course(after)),
                );
                is_changed = true;
            }
        }
        if is_changed {
            // A conflict means that another server was faster, which is as good.
            self.inner.store.commit(vec![changes.into_unit()]).await?;
        }
        let mut due = self.inner.courses_due.lock().unwrap_or_else(PoisonError::into_inner);
        due.insert(view.id.clone(), now.plus(every));
        Ok(())
    }

    async fn courses(
        &self,
        product: &ProductIdBuf,
    ) -> Result<BTreeMap<u32, (Version, FileCourse)>, StoreError> {
        let query = Query::Table { table: Table::Course, prefix: terminated(product) };
        let courses =
            scan_all(&self.inner.store, &query).await?.into_iter().filter_map(|(key, stored)| {
                match (key, stored) {
                    (Key::Course(_, number), Stored { version, record: Record::Course(course) }) => {
                        Some((number, (version, course)))
                    }
                    _ => None,
                }
            });
        Ok(courses.collect())
    }

    /// What the counters say of a product now. The files that were named first have a course.
    async fn count_fleet(&self, product: &ProductIdBuf) -> Result<Counts, StoreError> {
        let now = self.now();
        let mut files: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
        for (key, count) in self.inner.store.counters(&CounterPrefix::Installed(product.clone())).await? {
            let (CounterKey::Installed { file, revision, .. }, Ok(count)) = (key, u64::try_from(count))
            else {
                continue;
            };
            if files.len() < FILES_MAX || files.contains_key(&file) {
                *files.entry(file).or_default().entry(revision).or_insert(0) += count;
            }
        }
        let mut counts: Counts =
            files.into_iter().map(|(number, revisions)| (number, file_sample(&revisions, now))).collect();
        let devices = self.devices_of(product).await?;
        counts.insert(WHOLE, FileSample { at: now, revisions: Vec::new(), others: devices });
        Ok(counts)
    }

    /// How many devices a product has.
    pub(super) async fn devices_of(&self, product: &ProductIdBuf) -> Result<u64, StoreError> {
        let counters = self.inner.store.counters(&CounterPrefix::Devices).await?;
        let count = counters.into_iter().find_map(|(key, count)| match key {
            CounterKey::Devices { product: of } if of == *product => Some(count),
            _ => None,
        });
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }
}
