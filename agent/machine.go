package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd"
	"github.com/drover-io/drover/runtime/exec"
	"github.com/drover-io/drover/state"
)

// fingerprintTimeout bounds one look at the machine's drivers: starting the embedded containerd is part of the first.
const fingerprintTimeout = 10 * time.Second

// openClient opens the drivers, looks at the machine and opens the runner. Nothing is started or stopped.
func openClient(ctx context.Context, a *Agent) (*client, error) {
	if err := a.openDrivers(); err != nil {
		return nil, err
	}
	a.openCpusets()
	a.images = openImages(a)
	node := a.fingerprint(ctx)
	cfg := runtime.DefaultConfig()
	cfg.Devices = a.devices
	if a.cpusets != nil {
		cfg.Pin = a.cpusets.Pin
	}
	cfg.NodeID, cfg.Dir, cfg.Drivers = a.id.NodeID, a.dir.Path("client"), a.drivers
	cfg.ClusterID, cfg.Boot, cfg.BootID = a.clusterID, a.boot(), a.id.BootID
	cfg.Logger, cfg.MaxKillTimeout = a.log.Named("client"), a.cfg.Client.MaxKillTimeout
	cfg.MaxEnded, cfg.TidyEvery = a.cfg.Client.GCMaxAllocs, a.cfg.Client.GCInterval
	if os.Geteuid() == 0 {
		cfg.Cgroup = "/drover/" + a.id.NodeID
	}
	c := newClient(a, nil, node)
	cfg.Node = c.current
	runner, err := runtime.Open(cfg)
	if err != nil {
		return nil, err
	}
	c.runner = runner
	return c, nil
}

// openCpusets finds out whether tasks can have cores for themselves here.
func (a *Agent) openCpusets() {
	if os.Geteuid() != 0 || a.opts.Drivers != nil { // simulated machines have no cgroups
		return
	}
	sets, err := runtime.OpenCpusets("/sys/fs/cgroup")
	if err != nil {
		a.log.Info("tasks cannot have cores for themselves on this machine", "reason", err)
		return
	}
	a.cpusets = sets
}

// devices are what this machine offers: what its configuration names, and what is found on it. A device node that has gone makes
// its instance unhealthy.
func (a *Agent) devices() []runtime.HostDevice {
	var all []runtime.HostDevice
	for _, dev := range a.cfg.Client.Devices {
		all = append(all, dev.HostDevice())
	}
	if a.cfg.Client.DetectDevices && os.Geteuid() == 0 && a.opts.Drivers == nil {
		all = runtime.MergeDevices(all, runtime.FindDevices("/"))
	}
	return runtime.CheckDevices("/", all)
}

// openDrivers opens what runs tasks on this machine.
func (a *Agent) openDrivers() error {
	if a.opts.Drivers != nil {
		a.drivers = a.opts.Drivers
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	a.drivers = map[string]runtime.Driver{}
	plain, err := a.openExec()
	if err != nil {
		return err
	}
	if a.wants(plain.Name()) {
		a.drivers[plain.Name()] = plain
	}
	if os.Geteuid() != 0 || !a.wants("containerd") {
		return nil // containers need root
	}
	box := a.cfg.Drivers.Containers
	ctr, err := containerd.Open(containerd.Config{
		Address: a.cfg.Drivers.ContainerdAddress, NodeID: a.id.NodeID, ClusterID: a.clusterID, DataDir: a.cfg.DataDir,
		SelfExe: self, RuncPath: a.cfg.Drivers.RuncPath, Logger: a.log,
		Policy: box.policy(), Pulls: box.pulls(a.cfg.Drivers.PlainHTTP), Pids: int64(box.PidsLimit),
		Images: containerd.ImageGC{Enabled: box.GCImages, Delay: box.GCImageDelay, DiskPercent: a.cfg.Client.GCDiskPercent},
	})
	if err != nil {
		return err
	}
	a.drivers[ctr.Name()] = ctr
	a.closers = append(a.closers, ctr.Close)
	return nil
}

func (a *Agent) openExec() (*exec.Driver, error) {
	return exec.Open(exec.Config{
		Dir: a.dir.Path("exec"), DataDir: a.cfg.DataDir, Isolation: a.cfg.Drivers.ExecIsolation, Logger: a.log.Named("exec"),
	})
}

// wants reports whether the configuration lets a driver be used.
func (a *Agent) wants(driver string) bool {
	enabled := a.cfg.Drivers.Enabled
	return len(enabled) == 0 || slices.ContainsFunc(enabled, func(name string) bool { return runtime.CanonicalDriver(name) == driver })
}

// fingerprint says what this machine is and what it has to give.
func (a *Agent) fingerprint(ctx context.Context) *state.Node {
	ctx, cancel := context.WithTimeout(ctx, fingerprintTimeout)
	defer cancel()
	cfg := runtime.DefaultHostConfig()
	cfg.DataDir, cfg.Version, cfg.HostIP = a.cfg.DataDir, a.opts.Version, a.addrs.hostIP
	c := a.cfg.Client
	cfg.MinDynamicPort, cfg.MaxDynamicPort = c.MinDynamicPort, c.MaxDynamicPort
	kept, _ := runtime.ParseCores(c.Reserved.Cores) // Validate has read it
	if a.cpusets != nil {
		cfg.Cores = a.cpusets.Cores()
	}
	cfg.Reserved = runtime.Reserved{CPU: c.Reserved.CPU, Cores: kept, MemoryMB: c.Reserved.MemoryMB, DiskMB: c.Reserved.DiskMB, Ports: c.Reserved.Ports}
	attrs, res, err := runtime.FingerprintHost(cfg)
	if err != nil {
		a.log.Error("cannot find out what this machine has; nothing can be placed here", "error", err)
		attrs = map[string]string{}
	}
	res.Devices = runtime.NodeDevices(a.devices())
	node := &state.Node{
		ID: a.id.NodeID, Name: a.cfg.Name, Datacenter: a.cfg.Datacenter, Region: a.cfg.Region, NodePool: c.NodePool, NodeClass: c.NodeClass,
		PeerAddr: a.addrs.peer, HTTPAddr: a.addrs.http, HostIP: a.addrs.hostIP,
		Attributes: attrs, Meta: a.Config().Client.Meta, Drivers: map[string]state.DriverInfo{}, Resources: res, Level: state.MaxLevel,
		Boot: a.boot(), BootID: a.id.BootID,
	}
	for name, d := range a.drivers {
		f := d.Fingerprint(ctx)
		node.Drivers[name] = f.Info
		maps.Copy(node.Attributes, f.Attributes)
	}
	return node
}

// volatile are attributes that change all the time and are worth no registration of their own.
func volatile() []string { return []string{"unique.storage.bytesfree"} }

// sameMachine reports whether two fingerprints say the same of what matters.
func sameMachine(x, y *state.Node) bool {
	a, b := *x, *y
	a.Attributes, b.Attributes = maps.Clone(a.Attributes), maps.Clone(b.Attributes)
	for _, name := range volatile() {
		delete(a.Attributes, name)
		delete(b.Attributes, name)
	}
	// Free disk moves with every log line; a change of less than a tenth is none.
	if diff := a.Resources.DiskMB - b.Resources.DiskMB; max(diff, -diff) < max(a.Resources.DiskMB, b.Resources.DiskMB)/10 {
		a.Resources.DiskMB = b.Resources.DiskMB
	}
	return reflect.DeepEqual(a, b)
}

// current is the node as last fingerprinted.
func (c *client) current() *state.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}
