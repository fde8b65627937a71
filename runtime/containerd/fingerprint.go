package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const fingerprintTimeout = 10 * time.Second

// Fingerprint says whether containers can run here. Where our own daemon is the one to use, this starts it.
func (d *Driver) Fingerprint(ctx context.Context) runtime.Fingerprint {
	rc := d.runc(ctx)
	if rc.err != nil {
		return runtime.Fingerprint{Info: state.DriverInfo{HealthDescription: rc.err.Error()}}
	}
	if os.Geteuid() != 0 {
		return runtime.Fingerprint{Info: state.DriverInfo{HealthDescription: "the agent must be root to run containers"}}
	}
	fp := runtime.Fingerprint{
		Info:       state.DriverInfo{Detected: true},
		Attributes: map[string]string{"driver.containerd.runtime": rc.version, "driver.containerd.seccomp": strconv.FormatBool(rc.seccomp)},
	}
	s, ctx, err := d.session(ctx)
	version := ""
	if err == nil {
		version, err = askVersion(ctx, s)
	}
	if err != nil {
		fp.Info.HealthDescription = err.Error()
		return fp
	}
	fp.Info.Healthy = true
	fp.Info.HealthDescription = "containerd " + version + ", " + rc.version
	if !rc.seccomp {
		fp.Info.HealthDescription += "; warning: runc was built without seccomp, so system calls of containers are not filtered"
	}
	for k, v := range map[string]string{
		"driver.containerd":             "1",
		"driver.containerd.version":     version,
		"driver.containerd.snapshotter": s.snapshotter,
		"driver.containerd.embedded":    strconv.FormatBool(s.embedded),
		"driver.docker":                 "1",
		// As Nomad calls them, so that a job can ask for a node that allows what it needs.
		"driver.docker.privileged.enabled": strconv.FormatBool(d.cfg.Policy.Privileged),
		"driver.docker.volumes.enabled":    strconv.FormatBool(d.cfg.Policy.HostPaths),
		"driver.docker.version":            dockerVersion(version),
	} {
		fp.Attributes[k] = v
	}
	return fp
}

// askVersion asks every time: the daemon may have been upgraded.
func askVersion(ctx context.Context, s *session) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fingerprintTimeout)
	defer cancel()
	v, err := s.Version(ctx)
	return cleanVersion(v.Version), explain(err, "ask containerd at %s for its version", s.address)
}

// cleanVersion turns "v2.4.2+unknown" and Debian's "1.6.20~ds1" into what version constraints can compare.
func cleanVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	if i := strings.IndexAny(v, "~+"); i >= 0 {
		return v[:i]
	}
	return v
}

// dockerVersion is the release of Docker Engine that came with such a containerd: job files bring constraints on Docker's version,
// and containerd's numbers would fail all of them.
func dockerVersion(containerd string) string {
	switch major, rest, _ := strings.Cut(containerd, "."); {
	case major == "1" && strings.HasPrefix(rest, "7."):
		return "27.5.1"
	case major == "1":
		return "24.0.9"
	}
	return "29.0.0"
}

// runcInfo is what runc says of itself.
type runcInfo struct {
	version string // "runc 1.1.5"
	seccomp bool
	err     error
}

// runcCache remembers what a program said, until the file changes: a host's packages are upgraded while the agent runs.
type runcCache struct {
	mu    sync.Mutex
	file  string // path, size and time of change
	known runcInfo
}

// runc asks the runtime that the daemon would use.
func (d *Driver) runc(ctx context.Context) runcInfo {
	path, err := d.findRunc()
	if err != nil {
		return runcInfo{err: err}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return runcInfo{err: fmt.Errorf("find runc: %w", err)}
	}
	d.runcs.mu.Lock()
	defer d.runcs.mu.Unlock()
	file := fmt.Sprint(path, fi.Size(), fi.ModTime())
	if d.runcs.file == file {
		return d.runcs.known
	}
	ctx, cancel := context.WithTimeout(ctx, fingerprintTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return runcInfo{err: fmt.Errorf("run %s --version: %w", path, err)}
	}
	info := parseRunc(string(out))
	if info.err == nil {
		d.runcs.file, d.runcs.known = file, info
	}
	return info
}

// parseRunc reads "runc version 1.1.5+ds1", and a line about libseccomp where it was built in. crun has one line of features.
func parseRunc(out string) runcInfo {
	var info runcInfo
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[1] == "version":
			info.version = f[0] + " " + strings.Split(f[2], "+")[0]
		case len(f) > 0 && (f[0] == "libseccomp:" || strings.Contains(line, "+SECCOMP")):
			info.seccomp = true
		}
	}
	if info.version == "" {
		info.err = fmt.Errorf("read runc's version: cannot understand %q", strings.TrimSpace(out))
	}
	return info
}

func (d *Driver) findRunc() (string, error) {
	if d.cfg.RuncPath != "" {
		return d.cfg.RuncPath, nil
	}
	if path, err := exec.LookPath("runc"); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		path := filepath.Join(dir, "runc")
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", errors.New("runc is not installed: install the package runc to run containers")
}
