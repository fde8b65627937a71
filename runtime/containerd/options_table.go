package containerd

import (
	"math"
)

// optionEntry is one key of a config block: what checks it when a job is submitted, what reads it when a task starts, and what
// docs/containers.md says of it.
type optionEntry struct {
	key     string
	takes   string // for people
	preset  string // what it is when it is not given
	needs   string // setting of the node's drivers { containerd } block without which some or all of it is refused
	meaning string
	example string // as it stands in a config block
	read    func(o *options) reader
}

// optionTable lists the keys that work.
func optionTable() []optionEntry {
	var all []optionEntry
	for _, part := range [][]optionEntry{programOptions(), imageOptions(), fileOptions(), networkOptions(), rightOptions(), limitOptions(), terminalOptions()} {
		all = append(all, part...)
	}
	return all
}

func programOptions() []optionEntry {
	return []optionEntry{
		{"command", "text", "the image's Cmd", "", "the program, or the first argument of the image's entrypoint; replaces the image's Cmd", `command = "serve"`,
			func(o *options) reader { return text(&o.Command) }},
		{"args", "list of texts", "none", "", "its arguments", `args = ["--port", "${NOMAD_PORT_http}"]`,
			func(o *options) reader { return texts(&o.Args) }},
		{"entrypoint", "list of texts", "the image's", "", "replaces the image's Entrypoint and Cmd", `entrypoint = ["/bin/sh", "-c"]`,
			func(o *options) reader { return o.readEntrypoint }},
		{"work_dir", "path", "the image's", "", "working directory instead of the image's", `work_dir = "/srv"`,
			func(o *options) reader { return absolute(&o.WorkDir) }},
		{"labels", "map", "none", "", "labels of the container", `labels { team = "herders" }`,
			func(o *options) reader { return o.readLabels }},
		{"init", "true or false", "false", "", "a small init is process 1: it passes signals on and reaps what the program leaves behind", `init = true`,
			func(o *options) reader { return flag(&o.Init) }},
	}
}

func imageOptions() []optionEntry {
	return []optionEntry{
		{"image", "text", "must be given", "", "name of an image, or file:///path.tar of a Docker or OCI archive on the node", `image = "docker.io/library/nginx:1.27"`,
			func(o *options) reader { return text(&o.Image) }},
		{"force_pull", "true or false", "false; a floating tag (latest, or none) is asked for anyway", "", "ask the registry at every start, also for a tag that is here", `force_pull = true`,
			func(o *options) reader { return flag(&o.ForcePull) }},
		{"image_pull_timeout", "duration", "the node's, 5m", "", "how long a download may take, with all its retries", `image_pull_timeout = "10m"`,
			func(o *options) reader { return duration(&o.PullTimeout) }},
		{"auth", "block: username, password, server_address", "the node's logins", "", "login at the image's registry; before the node's own credentials",
			`auth {
  username       = "herder"
  password       = "${env["REGISTRY_PASSWORD"]}"
  server_address = "registry.example.com"
}`,
			func(o *options) reader { return o.readAuth }},
		{"auth_soft_fail", "true or false", "false", "", "pull without a login when the node's credential helper fails", `auth_soft_fail = true`,
			func(o *options) reader { return flag(&o.AuthSoftFail) }},
	}
}

func fileOptions() []optionEntry {
	return []optionEntry{
		{"volumes", "list of source:target[:options]", "none", "volumes { enabled = true }", "bind mounts. A relative source is below the task's directory (local/, secrets/, ../alloc/data/); an absolute one is the node's, which needs the setting. Options: ro, rw, and a propagation",
			`volumes = ["local/site:/usr/share/nginx/html:ro", "../alloc/data/cache:/cache"]`,
			func(o *options) reader { return o.readVolumes }},
		{"mount", "block, repeatable: type, target, source, readonly, bind_options, tmpfs_options, volume_options", "none", "volumes { enabled = true }", "a mount. Types: bind (as volumes, but the source must exist), tmpfs, volume (a directory of the node that outlives the allocation, by name; filled from the image when new)",
			`mount {
  type   = "tmpfs"
  target = "/scratch"
  tmpfs_options { size = 16777216 }
}`,
			func(o *options) reader { return o.readMounts("mount") }},
		{"mounts", "list of mounts", "none", "volumes { enabled = true }", "the same as mount, as a list",
			`mounts = [{ type = "volume", target = "/var/lib/db", source = "db" }]`,
			func(o *options) reader { return o.readMounts("mounts") }},
		{"devices", "list: host_path, container_path, cgroup_permissions", "none", "allow_devices", "devices of the node, of which its setting lists the paths",
			`devices = [{ host_path = "/dev/fuse", container_path = "/dev/fuse", cgroup_permissions = "rwm" }]`,
			func(o *options) reader { return o.readDevices }},
		{"shm_size", "bytes, or text with a unit", "64 MiB", "", "size of /dev/shm", `shm_size = "256m"`,
			func(o *options) reader { return size(&o.ShmSize) }},
		{"readonly_rootfs", "true or false", "false", "", "the image's files cannot be changed; /alloc, /local, /secrets and mounts can", `readonly_rootfs = true`,
			func(o *options) reader { return flag(&o.ReadOnly) }},
	}
}

func networkOptions() []optionEntry {
	return []optionEntry{
		{"ports", "list of port labels", "all ports of the group", "", "must be ports of the group. On the node's network every port of the group is there", `ports = ["http"]`,
			func(o *options) reader { return texts(&o.Ports) }},
		{"network_mode", "host or none", "host", "", "host: the node's network. none: a loopback interface and nothing else", `network_mode = "none"`,
			func(o *options) reader { return o.readNetworkMode }},
		{"hostname", "text", "the node's name", "", "name of the machine as the task sees it", `hostname = "box"`,
			func(o *options) reader { return o.readHostname }},
		{"extra_hosts", "list of name:address", "none", "", "lines of /etc/hosts after the node's own", `extra_hosts = ["db.internal:10.0.0.7"]`,
			func(o *options) reader { return o.readExtraHosts }},
		{"dns_servers", "list of addresses", "the node's", "", "instead of the node's", `dns_servers = ["10.0.0.53"]`,
			func(o *options) reader { return o.readDNSServers }},
		{"dns_search_domains", "list of names", "the node's", "", "instead of the node's", `dns_search_domains = ["example.com"]`,
			func(o *options) reader { return o.readDNSWords(&o.DNS.Search) }},
		{"dns_options", "list of texts", "the node's", "", "instead of the node's, see resolv.conf(5)", `dns_options = ["ndots:1"]`,
			func(o *options) reader { return o.readDNSWords(&o.DNS.Options) }},
	}
}

func rightOptions() []optionEntry {
	return []optionEntry{
		{"privileged", "true or false", "false", "allow_privileged = true", "all capabilities, all devices, nothing masked", `privileged = true`,
			func(o *options) reader { return flag(&o.Privileged) }},
		{"cap_add", "list of capabilities", "none", "allow_caps", "beside the default ones; the node's setting lists which, or says \"all\"", `cap_add = ["net_raw"]`,
			func(o *options) reader { return readCaps(&o.CapAdd) }},
		{"cap_drop", "list of capabilities, or all", "none", "", "taken from the default ones", `cap_drop = ["all"]`,
			func(o *options) reader { return readCaps(&o.CapDrop) }},
		{"security_opt", "list of texts", "no-new-privileges, a seccomp filter, masks over parts of /proc", "allow_unconfined = true", "no-new-privileges=false; apparmor=PROFILE of a profile that the node has loaded; seccomp=unconfined, apparmor=unconfined, systempaths=unconfined, which need the setting",
			`security_opt = ["no-new-privileges=false"]`,
			func(o *options) reader { return o.readSecurity }},
		{"group_add", "list of groups", "none", "", "more groups for the user: numbers, or names that the image knows", `group_add = ["5000"]`,
			func(o *options) reader { return texts(&o.GroupAdd) }},
		{"pid_mode", "host", "processes of its own", "allow_privileged = true", "see the node's processes", `pid_mode = "host"`,
			func(o *options) reader { return o.readMode(&o.PIDMode) }},
		{"ipc_mode", "host, private or none", "private", "allow_privileged = true", "host: the node's shared memory, which needs the setting. none: without /dev/shm", `ipc_mode = "private"`,
			func(o *options) reader { return o.readMode(&o.IPCMode, "none") }},
		{"uts_mode", "host", "a name of its own", "allow_privileged = true", "the node's name itself, also when it changes", `uts_mode = "host"`,
			func(o *options) reader { return o.readMode(&o.UTSMode) }},
		{"cgroupns", "host or private", "private with cgroup v2, else host", "allow_privileged = true", "private shows the container's own cgroup as the root; host, the node's, needs the setting", `cgroupns = "private"`,
			func(o *options) reader { return oneOf(&o.CgroupNS, "", "host", "private") }},
		{"userns_mode", "host", "host", "", "containers have the node's user IDs anyway", `userns_mode = "host"`,
			func(*options) reader { var mode string; return oneOf(&mode, "", "host") }},
		{"sysctl", "map", "none", "", "kernel settings of the container's own namespaces: kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*, and net.* with network_mode = \"none\"",
			`sysctl = { "kernel.msgmax" = "16384" }`,
			func(o *options) reader { return o.readSysctl }},
	}
}

func limitOptions() []optionEntry {
	const far = math.MaxInt32
	return []optionEntry{
		{"cpu_hard_limit", "true or false", "false", "", "the task never gets more than its share of the CPU, also when the rest is idle", `cpu_hard_limit = true`,
			func(o *options) reader { return flag(&o.CPUHardLimit) }},
		{"cpu_cfs_period", "microseconds, 1000 to 1000000", "100000", "", "over which cpu_hard_limit is counted", `cpu_cfs_period = 50000`,
			func(o *options) reader { return number(&o.CPUPeriod, 1000, 1_000_000) }},
		{"memory_hard_limit", "MiB", "resources.memory_max, or resources.memory", "", "the hard limit; resources.memory is then what the scheduler counts with and what the kernel tries to leave the task", `memory_hard_limit = 512`,
			func(o *options) reader { return number(&o.MemoryHardMiB, 0, 1<<30) }},
		{"pids_limit", "number", "the node's, 4096", "", "processes and threads", `pids_limit = 200`,
			func(o *options) reader { return number(&o.PidsLimit, 0, far) }},
		{"ulimit", "map of name to soft[:hard]", "nofile 65536:524288; else containerd's", "", "limits of each process: core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack, as; -1 or unlimited", `ulimit { nofile = "2048:4096" }`,
			func(o *options) reader { return o.readUlimit }},
		{"oom_score_adj", "0 to 1000", "200", "", "who is killed first when the node is out of memory", `oom_score_adj = 500`,
			func(o *options) reader { return o.readOOMScore }},
	}
}

func terminalOptions() []optionEntry {
	return []optionEntry{
		{"tty", "true or false", "false", "", "a terminal. Standard error then goes to standard output", `tty = true`,
			func(o *options) reader { return flag(&o.TTY) }},
		{"interactive", "true or false", "false", "", "standard input stays open", `interactive = true`,
			func(o *options) reader { return flag(&o.Interactive) }},
		{"logging", "block: type", "everything is kept", "", "none: keep no output. How much is kept says the logs block of the task", `logging { type = "none" }`,
			func(o *options) reader { return o.readLogging }},
	}
}

// refusedOption is a key that Docker drivers know and this one does not do.
type refusedOption struct {
	key      string
	harmless bool // ignoring it changes nothing that the user would miss
	why      string
}

// refusedOptions lists them. Ignoring one that is not harmless would give the user something else than asked for.
func refusedOptions() []refusedOption {
	const network = "groups share the node's network for now, and have no addresses of their own"
	return []refusedOption{
		{"advertise_ipv6_address", false, network},
		{"network_aliases", false, network},
		{"ipv4_address", false, network},
		{"ipv6_address", false, network},
		{"mac_address", false, network},
		{"port_map", false, "ports are declared in the group: network { port \"http\" { static = 80 } }, and listed in ports"},
		{"load", false, "name the archive as the image: image = \"file:///path/on/the/node.tar\""},
		{"cpuset_cpus", false, "ask for whole cores with resources { cores = N }: cores that were picked by hand would be given to others too"},
		{"storage_opt", false, "an image's files have no size limit of their own; ask for disk with ephemeral_disk { size = N }"},
		{"volume_driver", false, "there are no volume plugins; a directory of the node that lasts is mount { type = \"volume\" }"},
		{"runtime", false, "containers run with the node's runc; leave it out"},
		{"isolation", false, "it is for Windows"},
		{"windows_allow_insecure_container_admin", false, "it is for Windows"},
		{"healthchecks", true, "a health check that the image declares is not run; declare checks in a service block"},
		{"container_exists_attempts", true, "what an earlier attempt left over is taken away before a start"},
	}
}
