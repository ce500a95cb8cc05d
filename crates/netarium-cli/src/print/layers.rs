//! One bar for each layer that is coming, below that of the whole.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The bars of the layers that are coming.
#[derive(Default)]
pub(crate) struct Layers(Mutex<Option<Shown>>);

struct Shown {
    all: MultiProgress,
    bars: BTreeMap<usize, ProgressBar>,
}

impl Layers {
    /// So much of a layer has come. `above` is the bar of the whole.
    pub(crate) fn came(
        &self,
        above: &ProgressBar,
        number: usize,
        digest: &str,
        (done, total): (u64, u64),
    ) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.get_or_insert_with(|| {
            let all = MultiProgress::new();
            all.add(above.clone());
            Shown { all, bars: BTreeMap::new() }
        });
        let bar = shown.bars.entry(number).or_insert_with(|| {
            let bar = ProgressBar::new(total).with_style(style());
            bar.set_message(digest.to_owned());
            shown.all.add(bar)
        });
        bar.set_position(done);
        if done == total {
            bar.set_message(format!("{digest} is being unpacked"));
        }
    }

    /// A layer is in its place.
    pub(crate) fn done(&self, number: usize) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = shown.as_mut().and_then(|shown| shown.bars.remove(&number)) {
            bar.finish_and_clear();
        }
    }

    /// Takes all of them away.
    pub(crate) fn end(&self) {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for bar in shown.iter().flat_map(|shown| shown.bars.values()) {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let template = "  {msg:12} {bar:24} {bytes:>11} of {total_bytes}";
    ProgressStyle::with_template(template).expect("the template is sound").progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_goes_when_its_layer_is_in_its_place() {
        let layers = Layers::default();
        let above = ProgressBar::hidden();
        layers.came(&above, 0, "abc", (1, 2));
        layers.came(&above, 1, "def", (2, 2));
        layers.done(0);
        let count = layers.0.lock().unwrap().as_ref().unwrap().bars.len();
        assert_eq!(count, 1);
        layers.end();
        assert!(layers.0.lock().unwrap().is_none());
    }
}
