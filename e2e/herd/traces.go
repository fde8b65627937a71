package herd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/drover-io/drover/runtime/containerd"
)

// Destroy powers every machine off and removes what the kernel and a shared containerd keep of them beside their disks: a real
// machine takes its control groups and mounts along when it dies, one made of namespaces does not.
func (h *Herd) Destroy() error {
	var errs []error
	for _, n := range h.Nodes {
		errs = append(errs, n.rememberID())
	}
	if h.HostContainerd != "" {
		errs = append(errs, h.removeContainers())
	}
	errs = append(errs, h.Close(), RemoveTraces(h.Dir))
	return errors.Join(errs...)
}

// removeContainers removes the machines' containers from the host's daemon.
func (h *Herd) removeContainers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, id := range nodeIDs(h.Dir) {
		d, err := containerd.Open(containerd.Config{Address: h.HostContainerd, NodeID: id, DataDir: h.Dir})
		if err != nil {
			return err
		}
		found, err := d.List(ctx)
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := d.Remove(ctx, f.ID); err != nil {
				return err
			}
		}
		if err := errors.Join(d.UnpinNetNS(ctx), d.Close()); err != nil {
			return err
		}
	}
	return h.removeImages(ctx)
}

const (
	containerdNamespace = "drover"
	fileImages          = "drover.local/file:sha256-" // what the driver calls the image of a file, before its hash
)

// removeImages removes from the host's daemon the images of the herd's archives, and Drover's namespace when it is empty then.
func (h *Herd) removeImages(ctx context.Context) error {
	c, err := client.New(h.HostContainerd)
	if err != nil {
		return err
	}
	defer closeAll(c)
	ctx = namespaces.WithNamespace(ctx, containerdNamespace)
	archives, err := filepath.Glob(filepath.Join(h.Dir, "*.tar"))
	if err != nil {
		return err
	}
	for _, path := range archives {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s%x", fileImages, sha256.Sum256(data))
		if err := c.ImageService().Delete(ctx, name, images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image %s: %w", name, err)
		}
	}
	err = c.NamespaceService().Delete(ctx, containerdNamespace)
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) { // somebody else's containers and images are in it
		return nil
	}
	return err
}

// rememberID copies the agent's ID to where it is found when the machine is off: its data directory may be on a mount of its own.
func (n *Node) rememberID() error {
	if n.InitPID() == 0 {
		return nil
	}
	id, err := os.ReadFile(n.Path(filepath.Join(n.Dir, "data", "node-id")))
	if err != nil {
		return nil // it never had one
	}
	seen := filepath.Join(n.Dir, "seen")
	return errors.Join(os.MkdirAll(seen, 0o755), os.WriteFile(filepath.Join(seen, "node-id"), id, 0o644))
}

// nodeIDs are the IDs of the agents whose disks are below dir, those of data directories that were put aside too.
func nodeIDs(dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "node-id"))
	if err != nil {
		return nil
	}
	var ids []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			ids = append(ids, strings.TrimSpace(string(b)))
		}
	}
	return ids
}

// RemoveTraces removes the processes, control groups and mounts of the machines whose disks are below dir.
func RemoveTraces(dir string) error {
	for _, p := range traceProcesses(dir) {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end process %d: %w", p.PID, err)
		}
	}
	for _, m := range traceMounts(dir) {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := traceCgroups(dir)
		for _, c := range left {
			// The kernel refuses while a killed process is still on its way out.
			if err := os.Remove(c); err != nil && !errors.Is(err, fs.ErrNotExist) && time.Now().After(deadline) {
				return fmt.Errorf("remove control group %s: %w", c, err)
			}
		}
		if len(left) == 0 {
			break
		}
	}
	removeEmpty("/sys/fs/cgroup/*/drover", "/sys/fs/cgroup/drover", "/run/drover/netns", "/run/drover")
	return nil
}

// removeEmpty removes directories that nothing is in any more.
func removeEmpty(patterns ...string) {
	for _, p := range patterns {
		dirs, err := filepath.Glob(p)
		if err != nil {
			continue
		}
		for _, d := range dirs {
			_ = os.Remove(d) // another herd's are in it: it stays
		}
	}
}

// Leftovers lists what is still there of the herd, beside its disks.
func (h *Herd) Leftovers() []string {
	var out []string
	for _, p := range traceProcesses(h.Dir) {
		out = append(out, fmt.Sprintf("process %d: %s", p.PID, strings.Join(p.Args, " ")))
	}
	for _, m := range traceMounts(h.Dir) {
		out = append(out, "mount "+m)
	}
	for _, c := range traceCgroups(h.Dir) {
		out = append(out, "control group "+c)
	}
	return out
}

// traceProcesses are the processes, this one left out, whose command line or environment names a file below dir.
func traceProcesses(dir string) []Process {
	var out []Process
	for _, pid := range pids() {
		if pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			environ = nil
		}
		if !bytes.Contains(args, []byte(dir+"/")) && !bytes.Contains(environ, []byte("="+dir+"/")) {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// traceMounts are the mount points below dir, the deepest first.
func traceMounts(dir string) []string {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			out = append(out, f[1])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(out)))
	return out
}

// traceCgroups are the control groups of the nodes whose disks are below dir, the deepest first.
func traceCgroups(dir string) []string {
	ids := nodeIDs(dir)
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/drover/*", "/sys/fs/cgroup/drover/*"} {
		tops, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, top := range tops {
			if !slices.Contains(ids, filepath.Base(top)) {
				continue
			}
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					out = append(out, path)
				}
				return nil // a group that has gone meanwhile is what is wanted
			})
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(out)))
	return out
}
