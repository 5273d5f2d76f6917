use burn::module::Module;
use burn::nn::Linear;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, TensorData};
use proptest::prelude::*;

use super::*;
use crate::model::hosted::Hosted;

#[derive(Module, Debug)]
struct Small {
    one: Linear,
    other: Linear,
}

fn small() -> Small {
    let device = Device::flex().autodiff();
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        Param::from_tensor(BurnTensor::from_data(TensorData::new(values, shape), &device))
    };
    let bias = Param::from_tensor(BurnTensor::from_data([0.5_f32, -0.5], &device));
    Small {
        one: Linear { weight: tensor(vec![0.1; 6], [3, 2]), bias: Some(bias) },
        other: Linear { weight: tensor(vec![0.2; 2], [2, 1]), bias: None },
    }
}

fn adam() -> ModuleOptimizer {
    Hosted(AdamConfig::new().build()).into()
}

/// The state of a network after a step for each of `inputs`.
fn stepped(inputs: &[[f32; 3]]) -> (Small, ModuleOptimizer) {
    let (mut model, mut optimizer) = (small(), adam());
    for input in inputs {
        let input = BurnTensor::<2>::from_data([*input], &Device::flex().autodiff());
        let output = model.other.forward(model.one.forward(input)).square().sum();
        let gradients = GradientsParams::from_grads(output.backward(), &model);
        model = optimizer.step(0.1, model, gradients);
    }
    (model, optimizer)
}

/// A file with a state of [`Small`], in which `change` has changed scalars and tensors.
fn changed(change: impl FnOnce(&mut BTreeMap<String, Scalar>, &mut Shapes)) -> Vec<u8> {
    let (_, optimizer) = stepped(&[[1.0, 2.0, 3.0]]);
    let Parts { mut scalars, tensors } = Parts::of(&optimizer).unwrap();
    let mut shapes: Shapes =
        tensors.into_iter().map(|(name, tensor)| (name, tensor.shape.to_vec())).collect();
    change(&mut scalars, &mut shapes);
    let zeros = vec![0; 1000];
    let views = shapes.iter().map(|(name, shape)| {
        let bytes = 4 * shape.iter().product::<usize>();
        (name, TensorView::new(Dtype::F32, shape.clone(), &zeros[..bytes]).unwrap())
    });
    let scalars = serde_json::to_string(&scalars).unwrap();
    serialize(views, Some(HashMap::from([(SCALARS.to_owned(), scalars)]))).unwrap()
}

type Shapes = BTreeMap<String, Vec<usize>>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_state_survives_the_round_trip(
        inputs in prop::collection::vec(prop::array::uniform3(-10.0_f32..10.0), 1..4),
    ) {
        let (_, optimizer) = stepped(&inputs);
        let file = encode(&optimizer).unwrap();
        // Another process's model: its parameters have other ids.
        let other = decode(&file, adam(), &small()).unwrap();
        prop_assert_eq!(encode(&other).unwrap(), file);
    }

    #[test]
    fn bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&file, adam(), &small()).is_err());
    }

    #[test]
    fn damage_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let (_, optimizer) = stepped(&[[1.0, 2.0, 3.0]]);
        let mut file = encode(&optimizer).unwrap();
        for (at, mask) in flips {
            let at = at.index(file.len());
            file[at] ^= mask;
        }
        if is_cut {
            file.truncate(cut.index(file.len()));
        }
        // A changed number is a number; that it was changed is for hashes to find out.
        let decoded = decode(&file, adam(), &small());
        prop_assert!(!is_cut || decoded.is_err());
    }
}

#[test]
fn what_burn_would_pass_over_is_refused() {
    let decode = |file: Vec<u8>| decode(&file, adam(), &small()).map(|_| ());
    decode(changed(|_, _| ())).unwrap();

    let other = changed(|_, shapes| {
        shapes.insert("one.weight/momentum.moment_1".to_owned(), vec![2, 3]);
    });
    assert!(matches!(decode(other), Err(OptimizerFileError::Shape { .. })));
    let lacking = changed(|_, shapes| {
        shapes.remove("other.weight/momentum.moment_2").unwrap();
    });
    assert!(matches!(decode(lacking), Err(OptimizerFileError::Parts { .. })));
    let more = changed(|_, shapes| {
        shapes.insert("one.weight/velocity".to_owned(), vec![3, 2]);
    });
    assert!(matches!(decode(more), Err(OptimizerFileError::Parts { .. })));
    let bad = changed(|scalars, _| {
        scalars.insert("one.weight/momentum.time".to_owned(), Scalar::from(-1i64));
    });
    assert!(matches!(decode(bad), Err(OptimizerFileError::Parts { .. })));
    let of_another = changed(|scalars, _| {
        scalars.retain(|name, _| !name.starts_with("one.bias"));
    });
    assert!(matches!(decode(of_another), Err(OptimizerFileError::Parameters { .. })));
}
