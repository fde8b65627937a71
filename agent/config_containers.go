package agent

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/drover-io/drover/runtime/containerd"
)

// ContainersConfig is the rest of the block drivers.containerd: what containers may do on this node, and where images come from. A
// block plugin "docker" { config { … } } is the same.
type ContainersConfig struct {
	AllowPrivileged bool
	AllowCaps       []string // nil means containerd.DefaultCaps
	AllowDevices    []string // paths, with * for a part of a name
	AllowUnconfined bool     // security_opt may turn off seccomp and AppArmor
	HostVolumes     bool     // volumes and mounts of absolute paths
	PidsLimit       int      // processes of a task that says nothing; 0 means 4096
	PullTimeout     time.Duration
	StallTimeout    time.Duration // of a download without a byte
	AuthFile        string        // credentials as docker login writes them
	AuthHelper      string        // docker-credential-<AuthHelper>
	GCImages        bool
	GCImageDelay    time.Duration // since an image was last used; 0 means that age removes none
	Registries      map[string]*containerd.Registry
}

func defaultContainers() ContainersConfig {
	return ContainersConfig{
		PullTimeout: 5 * time.Minute, StallTimeout: 2 * time.Minute, GCImages: true, GCImageDelay: 24 * time.Hour,
	}
}

// registryBlock is the path of the blocks that have a registry's name; "*" stands for it.
const registryBlock = "drivers.containerd.registry.*"

// registry is the one whose block is being read.
func (c *Config) registry() *containerd.Registry {
	all := &c.Drivers.Containers.Registries
	if *all == nil {
		*all = map[string]*containerd.Registry{}
	}
	if (*all)[c.block] == nil {
		(*all)[c.block] = &containerd.Registry{}
	}
	return (*all)[c.block]
}

func containerKeys() []ConfigKey {
	const at = "drivers.containerd."
	of := func(field func(c *ContainersConfig) any) func(*Config) any {
		return func(c *Config) any { return field(&c.Drivers.Containers) }
	}
	registry := func(field func(r *containerd.Registry) any) func(*Config) any {
		return func(c *Config) any { return field(c.registry()) }
	}
	return []ConfigKey{
		{at + "allow_privileged", "", "", "jobs may ask for privileged containers and the node's namespaces", of(func(c *ContainersConfig) any { return &c.AllowPrivileged })},
		{at + "allow_caps", "", "", "capabilities that cap_add may name, or \"all\" (default: those that containers have anyway)", of(func(c *ContainersConfig) any { return &c.AllowCaps })},
		{at + "allow_devices", "", "", "devices that jobs may ask for, such as \"/dev/dri/*\"", of(func(c *ContainersConfig) any { return &c.AllowDevices })},
		{at + "allow_unconfined", "", "", "security_opt may turn off seccomp, AppArmor and the masks of /proc", of(func(c *ContainersConfig) any { return &c.AllowUnconfined })},
		{at + "volumes.enabled", "", "", "jobs may mount paths of the node", of(func(c *ContainersConfig) any { return &c.HostVolumes })},
		{at + "pids_limit", "", "", "processes and threads of a task that does not say (default: 4096)", of(func(c *ContainersConfig) any { return &c.PidsLimit })},
		{at + "image_pull_timeout", "", "", "how long the download of an image may take, when the job does not say", of(func(c *ContainersConfig) any { return &c.PullTimeout })},
		{at + "pull_activity_timeout", "", "", "how long no byte may come before a download is tried again", of(func(c *ContainersConfig) any { return &c.StallTimeout })},
		{at + "auth.config", "", "", "file of registry logins as docker login writes it, with credHelpers and credsStore", of(func(c *ContainersConfig) any { return &c.AuthFile })},
		{at + "auth.helper", "", "", "asks the program docker-credential-NAME for registries that nothing else knows", of(func(c *ContainersConfig) any { return &c.AuthHelper })},
		{at + "gc.image", "", "", "remove images that nobody uses", of(func(c *ContainersConfig) any { return &c.GCImages })},
		{at + "gc.image_delay", "", "", "how long an image stays after its last use; 0 means until the disk is full", of(func(c *ContainersConfig) any { return &c.GCImageDelay })},
		{registryBlock + ".mirrors", "", "", "hosts or URLs that are asked before the registry NAME", registry(func(r *containerd.Registry) any { return &r.Mirrors })},
		{registryBlock + ".plain_http", "", "", "speak to it without TLS", registry(func(r *containerd.Registry) any { return &r.PlainHTTP })},
		{registryBlock + ".username", "", "", "login for it", registry(func(r *containerd.Registry) any { return &r.Username })},
		{registryBlock + ".password", "", "", "password of the login", registry(func(r *containerd.Registry) any { return &r.Password })},
		{registryBlock + ".ca_file", "", "", "certificates that sign its own, beside the system's", registry(func(r *containerd.Registry) any { return &r.CAFile })},
		{registryBlock + ".skip_verify", "", "", "take any certificate: whoever is on the way can give you another image", registry(func(r *containerd.Registry) any { return &r.SkipVerify })},
	}
}

// foreignContainerKeys are those of Nomad's docker plugin that mean nothing here.
func foreignContainerKeys() []foreignKey {
	const at = "drivers.containerd."
	return []foreignKey{
		{path: at + "endpoint", why: "containers run in containerd: address = \"/run/containerd/containerd.sock\", or leave it out"},
		{path: at + "tls", why: "containers run in containerd, which is reached by a unix socket; remove the block"},
		{path: at + "logging", why: "output is kept on the node (`drover logs`); remove the block"},
		{path: at + "disable_log_collection", why: "a task says so itself: logging { type = \"none\" }"},
		{path: at + "volumes.selinuxlabel", why: "SELinux labels are not set; label the files on the node"},
		{path: at + "allow_runtimes", harmless: true, why: "containers run with runc"},
		{path: at + "nvidia_runtime", harmless: true, why: "containers run with runc"},
		{path: at + "infra_image", harmless: true, why: "a group needs no container to hold its network"},
		{path: at + "infra_image_pull_timeout", harmless: true, why: "a group needs no container to hold its network"},
		{path: at + "extra_labels", harmless: true, why: "containers always carry cluster, node, job, allocation and task"},
		{path: at + "gc.container", harmless: true, why: "containers are removed when their task has ended"},
		{path: at + "gc.dangling_containers", harmless: true, why: "containers that nobody knows are found by their labels, and end when the cluster says so"},
		{path: at + "container_exists_attempts", harmless: true, why: "what an earlier attempt left over is taken away before a start"},
		{path: at + "windows_allow_insecure_container_admin", harmless: true, why: "this is not Windows"},
	}
}

// registry decodes the block of one registry. An empty one is one, too.
func (d *decoder) registry(block *hcl.Block) {
	d.cfg.block = block.Labels[0]
	d.cfg.registry()
	d.body(block.Body, registryBlock)
}

// plugin decodes plugin "docker" { config { … } }.
func (d *decoder) plugin(block *hcl.Block) {
	name := block.Labels[0]
	if name != "docker" && name != "containerd" {
		d.problem(block.DefRange, "plugin %q is not supported: drivers are built in; containers are set up with plugin \"docker\", or in the drivers block, which also says which drivers to use", name)
		return
	}
	content, diags := block.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "config"}}})
	d.report(diags)
	if content == nil {
		return
	}
	for _, inner := range content.Blocks {
		d.body(inner.Body, "drivers.containerd")
	}
}

// policy is what the driver is told.
func (c ContainersConfig) policy() containerd.Policy {
	return containerd.Policy{
		Privileged: c.AllowPrivileged, Caps: c.AllowCaps, Devices: c.AllowDevices, Unconfined: c.AllowUnconfined, HostPaths: c.HostVolumes,
	}
}

func (c ContainersConfig) pulls(plainHTTP []string) containerd.PullConfig {
	p := containerd.PullConfig{
		Timeout: c.PullTimeout, StallTimeout: c.StallTimeout, PlainHTTP: plainHTTP, DockerConfig: c.AuthFile, Helper: c.AuthHelper,
		Registries: map[string]containerd.Registry{},
	}
	for host, r := range c.Registries {
		p.Registries[containerd.CanonicalRegistry(host)] = *r
	}
	return p
}

var (
	registryHost = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?$|^\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?$`)
	authHelper   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
)

// containers checks the block.
func (k *checker) containers() {
	const at = "drivers.containerd."
	c := k.c.Drivers.Containers
	for _, name := range c.AllowCaps {
		if !containerd.KnownCap(name) {
			k.fail(at+"allow_caps", "%q is not a capability; see capabilities(7)", name)
		}
	}
	for _, pattern := range c.AllowDevices {
		if _, err := path.Match(pattern, "/"); err != nil || !strings.HasPrefix(pattern, "/") {
			k.fail(at+"allow_devices", "want absolute paths, with * for a part of a name, not %q", pattern)
		}
	}
	k.between(at+"pids_limit", c.PidsLimit, 0, 1<<22)
	k.atLeast(at+"image_pull_timeout", c.PullTimeout, time.Second)
	k.atLeast(at+"pull_activity_timeout", c.StallTimeout, time.Second)
	if c.GCImageDelay != 0 {
		k.atLeast(at+"gc.image_delay", c.GCImageDelay, time.Minute)
	}
	if c.AuthFile != "" && !filepath.IsAbs(c.AuthFile) {
		k.fail(at+"auth.config", "want an absolute path, not %q", c.AuthFile)
	}
	if c.AuthHelper != "" && !authHelper.MatchString(c.AuthHelper) {
		k.fail(at+"auth.helper", "want the NAME of a program docker-credential-NAME, not %q", c.AuthHelper)
	}
	for _, host := range slices.Sorted(maps.Keys(c.Registries)) {
		k.registry(host, *c.Registries[host])
	}
}

func (k *checker) registry(host string, r containerd.Registry) {
	at := func(name string) string { return registryBlock + "." + name }
	if !registryHost.MatchString(host) {
		k.errs = append(k.errs, fmt.Errorf("drivers.containerd.registry %q: want a host, with a port where it needs one", host))
	}
	for _, m := range r.Mirrors {
		if _, err := containerd.ParseMirror(m); err != nil {
			k.fail(at("mirrors"), "of registry %s: %q: %v", host, m, err)
		}
	}
	if r.Password != "" && r.Username == "" {
		k.fail(at("password"), "of registry %s: there is no username", host)
	}
	if r.CAFile != "" && !filepath.IsAbs(r.CAFile) {
		k.fail(at("ca_file"), "of registry %s: want an absolute path, not %q", host, r.CAFile)
	}
	if r.PlainHTTP && (r.CAFile != "" || r.SkipVerify) {
		k.fail(at("plain_http"), "of registry %s: without TLS there is no certificate to check: remove ca_file and skip_verify", host)
	}
}
