//! `k8s-cli volumes ...`: the arguments of the commands about volumes.

use argh::FromArgs;

use super::{Format, Reference, value};
use crate::api::AccessMode;

command! {
    /// Create, list and delete volumes.
    #[argh(name = "volumes", example = "{command_name} create data 10Gi\n{command_name} list")]
    pub struct VolumesArgs {
        #[argh(subcommand)]
        pub command: VolumesCommand,
    }
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum VolumesCommand {
    Create(VolumeCreateArgs),
    List(VolumeListArgs),
    Status(VolumeStatusArgs),
    Delete(VolumeDeleteArgs),
}

command! {
    /// Create a volume.
    #[argh(
        name = "create",
        example = "{command_name} data 10Gi\n{command_name} --storage-class fast --access-modes ReadWriteMany data 1Ti"
    )]
    pub struct VolumeCreateArgs {
        /// name of the volume, by which tasks mount it
        #[argh(positional)]
        pub name: String,

        /// size of the volume, such as 10Gi; a bare number is in Gi
        #[argh(positional)]
        pub size: String,

        /// storage class (default: the cluster's)
        #[argh(option, arg_name = "class")]
        pub storage_class: Option<String>,

        /// access modes, separated by commas (default: ReadWriteOnce)
        #[argh(option, arg_name = "modes", from_str_fn(value::access_modes))]
        pub access_modes: Option<Vec<AccessMode>>,

        /// the same key gives the same volume for as long as it exists, however often it is created (default: a new one)
        #[argh(option, arg_name = "key")]
        pub idempotency_key: Option<String>,
    } with output server
}

command! {
    /// List volumes, newest first.
    #[argh(name = "list", example = "{command_name}\n{command_name} --details --all-users")]
    pub struct VolumeListArgs {
        /// show more columns, as `-o wide` does
        #[argh(switch, short = 'd')]
        pub details: bool,

        /// include the volumes of all users
        #[argh(switch, short = 'A')]
        pub all_users: bool,
    } with output server
}

command! {
    /// Show volumes.
    #[argh(name = "status", example = "{command_name} ab12cd34")]
    pub struct VolumeStatusArgs {
        /// the volume: its id, the beginning of it (3 characters or more), or its name
        #[argh(positional)]
        pub id: Reference,

        /// more volumes
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,
    } with output server
}

command! {
    /// Delete volumes and their data.
    #[argh(name = "delete", example = "{command_name} ab12cd34\n{command_name} --force ab12cd34")]
    pub struct VolumeDeleteArgs {
        /// the volume: its id, the beginning of it (3 characters or more), or its name
        #[argh(positional)]
        pub id: Reference,

        /// more volumes
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,

        /// do not ask
        #[argh(switch)]
        pub force: bool,
    } with output server
}
