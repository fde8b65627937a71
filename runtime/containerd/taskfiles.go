package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/drover-io/drover/runtime"
)

const (
	resolvConf = "/etc/resolv.conf"
	hostsFile  = "/etc/hosts"
	nameFile   = "/etc/hostname"
	stdinName  = "stdin"
)

// filesDir is where the driver keeps what one container needs of its own: generated files of /etc, staged mounts, the pipe of an
// open standard input. Tasks do not see it.
func (d *Driver) filesDir(id string) string { return filepath.Join(d.cfg.dir(), "tasks", id) }

// etcFiles are the files of /etc by which a process finds names: the node's, and the ones made for this task where it wants others.
func (d *Driver) etcFiles(id string, o options) ([]specs.Mount, error) {
	made := map[string]string{}
	if len(o.ExtraHosts) > 0 || o.Hostname != "" {
		made[hostsFile] = hostsText(readText(hostsFile), o)
	}
	if o.DNS.Servers != nil || o.DNS.Search != nil || o.DNS.Options != nil {
		made[resolvConf] = resolvText(readText(resolvConf), o.DNS)
	}
	if o.Hostname != "" {
		made[nameFile] = o.Hostname + "\n"
	}
	var list []specs.Mount
	for _, path := range []string{resolvConf, hostsFile, nameFile} {
		source := path
		if text, ok := made[path]; ok {
			source = filepath.Join(d.filesDir(id), filepath.Base(path))
			if err := writeTaskFile(source, text); err != nil {
				return nil, fmt.Errorf("make %s of container %s: %w", path, id, err)
			}
		}
		if fi, err := os.Stat(source); err == nil && fi.Mode().IsRegular() {
			list = append(list, bind(source, path, "ro", "nosuid", "nodev", "noexec"))
		}
	}
	return list, nil
}

func writeTaskFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // whatever the umask: the task's user reads it
}

func readText(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// hostsText is the node's /etc/hosts with the task's lines.
func hostsText(host string, o options) string {
	var b strings.Builder
	b.WriteString(host)
	if host != "" && !strings.HasSuffix(host, "\n") {
		b.WriteString("\n")
	}
	for _, h := range o.ExtraHosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.Address, h.Name)
	}
	if o.Hostname != "" { // programs look up their own name
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", o.Hostname)
	}
	return b.String()
}

// resolvText is the node's resolv.conf with what the task wants replaced.
func resolvText(host string, dns dnsOption) string {
	var b strings.Builder
	for line := range strings.Lines(host) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		replaced := f[0] == "nameserver" && dns.Servers != nil || (f[0] == "search" || f[0] == "domain") && dns.Search != nil ||
			f[0] == "options" && dns.Options != nil
		if !replaced {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	for _, s := range dns.Servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(dns.Search) > 0 {
		b.WriteString("search " + strings.Join(dns.Search, " ") + "\n")
	}
	if len(dns.Options) > 0 {
		b.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
	}
	return b.String()
}

// openStdin makes a pipe that nobody closes, so that a task that reads its standard input waits instead of reading its end.
func (d *Driver) openStdin(id string) (string, error) {
	path := filepath.Join(d.filesDir(id), stdinName)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = unix.Mkfifo(path, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make standard input of container %s: %w", id, err)
	}
	return path, nil
}

// removeFiles takes the container's own files away. Directories are never removed with what is in them: something may be mounted.
func (d *Driver) removeFiles(s *session, id string) error {
	dir := d.filesDir(id)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove files of container %s: %w", id, err)
	}
	if err := d.unstage(s, id); err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(append(errs, os.Remove(dir))...); err != nil {
		return fmt.Errorf("remove files of container %s: %w", id, err)
	}
	return nil
}

// mountList are all mounts of a task beside those of every container, outer ones first.
func (d *Driver) mountList(s *session, id string, spec runtime.TaskSpec, o options) ([]specs.Mount, error) {
	list := taskMounts(spec.Dirs)
	etc, err := d.etcFiles(id, o)
	if err != nil {
		return nil, err
	}
	list = append(list, etc...)
	asked, err := d.askedMounts(s, id, spec, o)
	if err != nil {
		return nil, err
	}
	return append(list, asked...), nil
}
