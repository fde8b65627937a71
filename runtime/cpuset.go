package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Cpusets keeps groups of processes on cores of their own, by the kernel's cpuset controller.
type Cpusets struct {
	root  string // where a group's directory is made: the controller's with cgroup v1, the only one with v2
	cores []int  // that there are to give
}

// OpenCpusets finds the cpuset controller below a mount of the cgroup file systems, "/sys/fs/cgroup", and tries it. An error says
// why cores cannot be kept apart on this machine.
func OpenCpusets(mount string) (*Cpusets, error) {
	c := &Cpusets{root: filepath.Join(mount, "cpuset")}
	file := "cpuset.cpus"
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		c.root, file = mount, "cpuset.cpus.effective"
		if err := writeControl(filepath.Join(mount, "cgroup.subtree_control"), "+cpuset"); err != nil {
			return nil, fmt.Errorf("delegate the cpuset controller: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(c.root, file))
	if err != nil {
		return nil, fmt.Errorf("find the cpuset controller: %w", err)
	}
	if c.cores, err = ParseCores(string(text)); err != nil || len(c.cores) == 0 {
		return nil, fmt.Errorf("read %s: %w", file, errors.Join(err, errors.New("there are no cores")))
	}
	if err := c.try(); err != nil {
		return nil, fmt.Errorf("try the cpuset controller: %w", err)
	}
	return c, nil
}

// try makes a group, gives it a core and removes it.
func (c *Cpusets) try() error {
	dir, err := os.MkdirTemp(c.root, "drover-probe-")
	if err != nil {
		return err
	}
	return errors.Join(writeControl(filepath.Join(dir, "cpuset.cpus"), FormatCores(c.cores[:1])), os.Remove(dir))
}

// Cores are those that this machine lets its processes have, ascending.
func (c *Cpusets) Cores() []int { return c.cores }

// Pin keeps a group at path ("/drover/<node>/<alloc>/<task>") on cores. The error is fs.ErrNotExist when there is no such group.
// Groups that the task has made within its own follow with cgroup v2; with v1 the kernel refuses to take away a core that one
// of them has.
func (c *Cpusets) Pin(path string, cores []int) error {
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("bad cgroup path %q", path)
	}
	if err := writeControl(filepath.Join(c.root, path, "cpuset.cpus"), FormatCores(cores)); err != nil {
		return fmt.Errorf("pin to cores %s: %w", FormatCores(cores), err)
	}
	return nil
}

// writeControl writes to a file of the kernel's. It creates none.
func writeControl(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
