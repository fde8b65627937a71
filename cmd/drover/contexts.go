package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/drover-io/drover/internal/nearest"
)

// savedContext is a cluster that the user has named: what the command line would otherwise have to say each time.
type savedContext struct {
	Name      string `json:"-"` // of its file
	Address   string `json:"address,omitempty"`
	Token     string `json:"token,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Region    string `json:"region,omitempty"`
}

// contextName is what a context may be called: it is a file's name.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const (
	// contextEnding is that of a context's file.
	contextEnding = ".json"
	// maxContextFile bounds a context's file, in bytes.
	maxContextFile = 64 << 10
)

// configDir is the user's directory for this program's settings, "" where the environment names none.
func (a *app) configDir() string {
	if dir := a.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "drover")
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "drover")
	}
	return ""
}

func (a *app) contextPath(name string) (string, error) {
	if !contextName.MatchString(name) {
		return "", fmt.Errorf("%q cannot be a context's name: it may have letters, digits, '.', '_' and '-', at most 63", name)
	}
	dir := a.configDir()
	if dir == "" {
		return "", errors.New("there is no place for contexts: neither HOME nor XDG_CONFIG_HOME is set")
	}
	return filepath.Join(dir, "contexts", name+contextEnding), nil
}

// contextNames are the saved contexts, in order.
func (a *app) contextNames() ([]string, error) {
	if a.configDir() == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(a.configDir(), "contexts"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list contexts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), contextEnding); ok && contextName.MatchString(name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names, nil
}

// readContext reads a saved context. That there is none is an error that says which there are.
func (a *app) readContext(name string) (savedContext, error) {
	path, err := a.contextPath(name)
	if err != nil {
		return savedContext{}, err
	}
	c := savedContext{Name: name}
	data, err := readFileBounded(path, maxContextFile)
	if errors.Is(err, os.ErrNotExist) {
		return c, a.noContext(name)
	}
	if err != nil {
		return c, fmt.Errorf("read context %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("read context %s: %s: %w; `drover context set %s` writes it anew, or mend the file", name, path, err, name)
	}
	return c, nil
}

func (a *app) noContext(name string) error {
	names, err := a.contextNames()
	if err != nil {
		return err
	}
	next := "`drover context list` lists them"
	switch near := nearest.Name(name, names); {
	case len(names) == 0:
		next = fmt.Sprintf("there is none yet; make it with `drover context set %s --address http://…`", name)
	case near != "":
		next = "did you mean " + near + "?"
	}
	return fmt.Errorf("there is no context %q\n  %s", name, sentence(next))
}

func (a *app) writeContext(c savedContext) error {
	path, err := a.contextPath(c.Name)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(data, '\n'))
}

// replaceFile writes a file of the user's alone, so that under its name there is the old content or the new.
func replaceFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// currentContext is the name that `context use` chose, "" for none.
func (a *app) currentContext() (string, error) {
	if a.configDir() == "" {
		return "", nil
	}
	data, err := readFileBounded(filepath.Join(a.configDir(), "current-context"), maxContextFile)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the current context: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func (a *app) setCurrentContext(name string) error {
	path := filepath.Join(a.configDir(), "current-context")
	if name == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return replaceFile(path, []byte(name+"\n"))
}

// nameInUse is the context that flags, environment or `context use` choose, "" for none.
func (a *app) nameInUse() (string, error) {
	if name := orElse(a.useContext, a.env("CONTEXT")); name != "" {
		return name, nil
	}
	return a.currentContext()
}

// contextInUse is what the chosen context says; the zero value where none is chosen.
func (a *app) contextInUse() (savedContext, error) {
	name, err := a.nameInUse()
	if err != nil || name == "" {
		return savedContext{}, err
	}
	return a.readContext(name)
}
