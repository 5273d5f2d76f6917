//! Choice of devices at run time.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use burn::tensor::Device;

/// Where tensors live and are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The CPU, by Burn's flex backend.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

/// The devices of a training run, each of which gets a replica of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevicesChoice {
    /// Those named: at least one, and no GPU twice. The CPU may hold several replicas.
    Named(Named),
    /// All NVIDIA GPUs of this machine.
    AllCuda,
}

/// At least one device, and no GPU twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named(Vec<DeviceChoice>);

/// Most replicas of a run. Far more than a machine has GPUs; a number above it is a slip.
const MOST: usize = 64;

/// Why there are no such devices.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The name is none of those known.
    #[error("no device `{0}`: use cpu, cuda or cuda:N")]
    Unknown(String),
    /// The list of devices can't be read.
    #[error("no devices `{0}`: use cpu, cpu:COUNT, cuda, cuda:N,N,... or cuda:all")]
    UnknownList(String),
    /// A GPU is named more than once.
    #[error("cuda:{0} is named twice: each GPU holds one replica")]
    Twice(usize),
    /// More replicas than make sense.
    #[error("{0} replicas are too many: at most {MOST} are possible")]
    TooMany(usize),
    /// The program lacks the backend.
    #[error("this program was built without CUDA: build it with `--features cuda`, or use cpu")]
    NotBuilt,
    /// The machine lacks the GPU.
    #[error(
        "there is no GPU {number} here: {found} found, numbered from 0. `nvidia-smi -L` lists them; \
         if it fails, the driver (libcuda) isn't installed"
    )]
    Absent {
        /// The number of the one wanted.
        number: usize,
        /// How many there are.
        found: usize,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceChoice {
    /// The device, for inference.
    ///
    /// # Errors
    /// If the program was built without its backend, or the machine lacks it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Cuda(number) => match cuda()?.into_iter().nth(number) {
                Some(device) => Ok(device),
                None => Err(DeviceError::Absent { number, found: cuda()?.len() }),
            },
        }
    }
}

impl FromStr for DevicesChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownList(text.to_owned());
        let choices = match text.split_once(':') {
            None => vec![text.parse().map_err(|_| unknown())?],
            Some(("cuda", "all")) => return Ok(Self::AllCuda),
            Some(("cpu", count)) => {
                let count: usize = count.parse().map_err(|_| unknown())?;
                if count > MOST {
                    return Err(DeviceError::TooMany(count));
                }
                vec![DeviceChoice::Cpu; count]
            }
            Some(("cuda", numbers)) => numbers
                .split(',')
                .map(|number| number.parse().map(DeviceChoice::Cuda).map_err(|_| unknown()))
                .collect::<Result<_, _>>()?,
            _ => return Err(unknown()),
        };
        if choices.is_empty() {
            return Err(unknown());
        }
        if choices.len() > MOST {
            return Err(DeviceError::TooMany(choices.len()));
        }
        for (at, choice) in choices.iter().enumerate() {
            if let DeviceChoice::Cuda(number) = choice
                && choices.iter().take(at).any(|earlier| earlier == choice)
            {
                return Err(DeviceError::Twice(*number));
            }
        }
        Ok(Self::Named(Named(choices)))
    }
}

impl fmt::Display for DevicesChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Named(Named(choices)) = self else { return f.write_str("cuda:all") };
        match choices.as_slice() {
            [one] => one.fmt(f),
            [DeviceChoice::Cpu, ..] => write!(f, "cpu:{}", choices.len()),
            gpus => {
                for (at, gpu) in gpus.iter().enumerate() {
                    match gpu {
                        DeviceChoice::Cuda(number) if at > 0 => write!(f, ",{number}")?,
                        gpu => gpu.fmt(f)?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl From<DeviceChoice> for DevicesChoice {
    fn from(choice: DeviceChoice) -> Self {
        Self::Named(Named(vec![choice]))
    }
}

impl DevicesChoice {
    /// The devices.
    ///
    /// # Errors
    /// If the program was built without their backend, or the machine lacks one of them.
    pub fn open(&self) -> Result<Devices, DeviceError> {
        let choices = match self {
            Self::Named(Named(choices)) => choices.clone(),
            Self::AllCuda => (0..cuda()?.len()).map(DeviceChoice::Cuda).collect(),
        };
        let opened: Vec<Opened> = choices
            .into_iter()
            .map(|choice| Ok(Opened { choice, device: choice.open()? }))
            .collect::<Result<_, DeviceError>>()?;
        let mut opened = opened.into_iter();
        let Some(first) = opened.next() else {
            return Err(DeviceError::Absent { number: 0, found: 0 });
        };
        Ok(Devices { first, others: opened.collect() })
    }
}

/// A device that is there.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) choice: DeviceChoice,
    pub(super) device: Device,
}

/// The devices that replicas of a model are on: at least one.
#[derive(Debug, Clone)]
pub struct Devices {
    pub(super) first: Opened,
    pub(super) others: Vec<Opened>,
}

impl Devices {
    /// The numbers of the NVIDIA GPUs among them.
    pub fn gpus(&self) -> Vec<usize> {
        let all = std::iter::once(&self.first).chain(&self.others);
        let number = |opened: &Opened| match opened.choice {
            DeviceChoice::Cpu => None,
            DeviceChoice::Cuda(number) => Some(number),
        };
        all.filter_map(number).collect()
    }

    /// How many replicas they hold.
    pub fn replicas(&self) -> NonZeroUsize {
        NonZeroUsize::MIN.saturating_add(self.others.len())
    }

    /// Which they are; the CPU once for each of its replicas.
    pub fn choices(&self) -> impl Iterator<Item = DeviceChoice> {
        std::iter::once(&self.first).chain(&self.others).map(|opened| opened.choice)
    }
}

/// All GPUs. Counting them opens none, and a machine without the driver has none.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Vec<Device>, DeviceError> {
    Ok(Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec())
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Vec<Device>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_devices() {
        for text in ["cpu", "cuda:0", "cuda:7"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_devices() {
        for text in ["cpu", "cpu:4", "cuda:0", "cuda:3,1", "cuda:all"] {
            assert_eq!(text.parse::<DevicesChoice>().unwrap().to_string(), text);
        }
        let parse = |text: &str| text.parse::<DevicesChoice>();
        assert_eq!(parse("cuda").unwrap(), parse("cuda:0").unwrap());
        assert_eq!(parse("cpu:1").unwrap(), DeviceChoice::Cpu.into());
        for text in ["", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:all", "cuda:", "cuda:0,", "cpu,cpu"]
        {
            assert!(matches!(parse(text), Err(DeviceError::UnknownList(_))), "{text}");
        }
        assert!(matches!(parse("cuda:0,1,0"), Err(DeviceError::Twice(0))));
        assert!(matches!(parse("cpu:65"), Err(DeviceError::TooMany(65))));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "(cpu|cuda)?[:,0-9a-z]{0,12}") {
            let (one, several) = (text.parse::<DeviceChoice>(), text.parse::<DevicesChoice>());
            if let Ok(one) = one {
                prop_assert_eq!(several.unwrap(), DevicesChoice::from(one));
            } else if let Ok(several) = several {
                prop_assert_eq!(several.to_string().parse::<DevicesChoice>().unwrap(), several);
            }
        }
    }

    #[test]
    fn a_cpu_holds_as_many_replicas_as_are_wanted() {
        let devices = "cpu:3".parse::<DevicesChoice>().unwrap().open().unwrap();
        assert_eq!(devices.replicas().get(), 3);
        assert!(devices.choices().all(|choice| choice == DeviceChoice::Cpu));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_there_are_no_gpus() {
        for text in ["cuda", "cuda:1,0", "cuda:all"] {
            let error = text.parse::<DevicesChoice>().unwrap().open().unwrap_err();
            assert!(matches!(error, DeviceError::NotBuilt), "{error}");
        }
    }
}
