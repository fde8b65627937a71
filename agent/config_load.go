package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxConfigBytes = 1 << 20 // of one file
	maxConfigFiles = 100     // of one directory
	maxConfigDepth = 64      // of nested brackets
)

// ConfigSources say where an agent's configuration comes from. What comes later in this struct overrides what comes before.
type ConfigSources struct {
	Dev   bool                     // start from DevConfig instead of DefaultConfig
	Files []string                 // files, and directories whose *.hcl and *.json are taken in the order of their names
	Env   func(name string) string // os.Getenv; nil means no environment. An empty value is none
	Flags []ConfigFlag             // in the order of the command line
	Host  func() (string, error)   // os.Hostname, for the node's name; nil means that
}

// ConfigFlag is one flag that was given. Values of a repeated flag that IsList are joined.
type ConfigFlag struct {
	Name  string // ConfigKey.Flag
	Value string
}

// LoadConfig reads a configuration. Its error lists everything that is wrong in the files with place and source line. It does not
// call Validate. The warnings are for the user; they name what was ignored.
func LoadConfig(src ConfigSources) (c Config, warnings []string, err error) {
	c = DefaultConfig()
	if src.Dev {
		c = DevConfig()
	}
	files, err := configFiles(src.Files)
	if err != nil {
		return Config{}, nil, err
	}
	d := decoder{cfg: &c}
	for _, file := range files {
		data, err := readConfigFile(file)
		if err != nil {
			return Config{}, nil, err
		}
		d.file(file, data)
	}
	if err := d.err(); err != nil {
		return Config{}, nil, err
	}
	if err := errors.Join(c.readEnv(src.Env), c.readFlags(src.Flags)); err != nil {
		return Config{}, nil, err
	}
	if c.Name == "" {
		if src.Host == nil {
			src.Host = os.Hostname
		}
		if c.Name, err = src.Host(); err != nil {
			return Config{}, nil, fmt.Errorf("find the host name: %w: set name (--node)", err)
		}
	}
	return c, d.warnings, nil
}

func (c *Config) readEnv(env func(string) string) error {
	if env == nil {
		return nil
	}
	var errs []error
	for _, k := range ConfigKeys() {
		if k.Env == "" {
			continue
		}
		if text := env(k.Env); text != "" {
			if err := k.setText(c, text, k.Env); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", k.Env, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *Config) readFlags(flags []ConfigFlag) error {
	var errs []error
	texts := map[string][]string{}
	for _, f := range flags {
		texts[f.Name] = append(texts[f.Name], f.Value)
	}
	for _, k := range ConfigKeys() {
		text, ok := texts[k.Flag]
		if k.Flag == "" || !ok {
			continue
		}
		delete(texts, k.Flag)
		value := text[len(text)-1]
		if k.IsList() {
			value = strings.Join(text, ",")
		}
		if err := k.setText(c, value, "--"+k.Flag); err != nil {
			errs = append(errs, fmt.Errorf("flag --%s: %w", k.Flag, err))
		}
	}
	for name := range texts {
		errs = append(errs, fmt.Errorf("unknown flag --%s", name))
	}
	return errors.Join(errs...)
}

// configFiles replaces directories by their files.
func configFiles(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path) // sorted by name
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
			return e.IsDir() || strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".hcl", ".json"}, filepath.Ext(e.Name()))
		})
		if len(entries) > maxConfigFiles {
			return nil, fmt.Errorf("read configuration: %s holds %d files, want at most %d", path, len(entries), maxConfigFiles)
		}
		for _, e := range entries {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, nil
}

// readConfigFile reads a file within bounds.
func readConfigFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("read configuration %s: larger than %d bytes", path, maxConfigBytes)
	}
	depth, deepest := 0, 0
	for _, b := range data {
		switch b {
		case '{', '[', '(':
			depth++
			deepest = max(deepest, depth)
		case '}', ']', ')':
			depth--
		}
	}
	if deepest > maxConfigDepth { // the parser would use a stack frame for each
		return nil, fmt.Errorf("read configuration %s: brackets are nested deeper than %d", path, maxConfigDepth)
	}
	return data, nil
}
