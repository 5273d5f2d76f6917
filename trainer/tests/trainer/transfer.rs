//! Runs that begin with the weights of another run's checkpoint.

use crate::support::{dataset, load, memory, runtime, train};
use coffer_client::place::Place;
use coffer_train::checkpoint::Selector;
use coffer_train::model::vae::VaeConfig;
use coffer_train::train::{Init, ModelConfig, Run, RunError};

fn from(place: &Place, checkpoint: Selector, partial: bool) -> impl Fn(&mut Run<'_>) + use<> {
    let init = Init { run: place.clone(), checkpoint, partial };
    move |run| {
        run.init = Some(init.clone());
        run.config.init_from = Some("memory://test".to_owned());
    }
}

#[test]
fn a_run_begins_with_the_weights_of_the_checkpoint_that_is_named() {
    let runtime = runtime();
    let (dataset, origin) = (dataset(&runtime, &memory()), memory());
    let (first, _) = train(&runtime, &dataset, &origin, 3, |_| ()).unwrap();
    let loss = |which| {
        let (outcome, _) = train(&runtime, &dataset, &memory(), 1, |run| {
            from(&origin, which, false)(run);
            // Too small a step to change anything that is seen.
            run.config.learning_rate = 1e-30;
        })
        .unwrap();
        outcome.history[0].test.total()
    };
    assert_eq!(loss(Selector::Latest), first.history[2].test.total());
    assert_eq!(loss(Selector::Epoch(1)), first.history[0].test.total());
}

#[test]
fn what_does_not_fit_is_named_and_taken_in_part_only_if_that_is_allowed() {
    let runtime = runtime();
    let (dataset, origin) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &origin, 1, |_| ()).unwrap();
    // The latent space has another size: the first layer and the last one fit, four tensors.
    let wider = |partial| {
        let init = from(&origin, Selector::Latest, partial);
        move |run: &mut Run<'_>| {
            init(run);
            run.config.model = ModelConfig::Vae(VaeConfig { hidden: 16, latent: 5 });
        }
    };
    let error = train(&runtime, &dataset, &memory(), 1, wider(false)).unwrap_err();
    assert!(matches!(error, RunError::Unfit { .. }), "{error}");
    for name in ["mean.weight", "log_variance.bias", "decoder.weight", "--partial"] {
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(!error.to_string().contains("encoder"), "{error}");
    train(&runtime, &dataset, &memory(), 1, wider(true)).unwrap();

    // Nothing of an autoencoder is a regression's.
    let other = |run: &mut Run<'_>| {
        from(&origin, Selector::Latest, true)(run);
        run.config.model = ModelConfig::Linear;
    };
    let error = train(&runtime, &dataset, &memory(), 1, other).unwrap_err();
    assert!(matches!(error, RunError::Unfit { .. }), "{error}");
}

#[test]
fn a_resumed_run_reads_its_own_checkpoint_only() {
    let runtime = runtime();
    let (dataset, origin, place) = (dataset(&runtime, &memory()), memory(), memory());
    train(&runtime, &dataset, &origin, 1, |_| ()).unwrap();
    let init = from(&origin, Selector::Latest, false);
    train(&runtime, &dataset, &place, 1, &init).unwrap();
    let gone = from(&memory(), Selector::Latest, false);
    train(&runtime, &dataset, &place, 2, &gone).unwrap();
    let whole = memory();
    train(&runtime, &dataset, &whole, 2, &init).unwrap();
    let [cut, whole] = [&place, &whole].map(|place| load(&runtime, place, Selector::Latest));
    assert!(cut.parts["model.safetensors"] == whole.parts["model.safetensors"]);
    let source = load(&runtime, &origin, Selector::Latest).entry;
    for one in [&cut, &whole] {
        let from = one.manifest.lineage.init_from.as_ref().unwrap();
        assert_eq!(from.address, format!("memory://test@{}", source.id));
        assert_eq!(from.manifest, source.manifest, "also after it was resumed");
    }
    let random = train(&runtime, &dataset, &place, 3, |_| ()).unwrap_err();
    assert!(random.to_string().contains("initial weights: memory://test, not random"), "{random}");
}
