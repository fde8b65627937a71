package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxBundleFile bounds one file of a bundle, in bytes.
const maxBundleFile = 64 << 20

// bundle is an archive that is being written. It may be used from any goroutine.
type bundle struct {
	name string // of the directory that everything is in
	path string
	at   time.Time

	mu    sync.Mutex
	f     *os.File
	zip   *gzip.Writer
	tar   *tar.Writer
	files int
	errs  []string
}

// newBundle begins an archive. Under its name there is a whole one or none.
func newBundle(path, name string, at time.Time) (*bundle, error) {
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it holds what jobs hold
	if err != nil {
		return nil, err
	}
	zip := gzip.NewWriter(f)
	return &bundle{name: name, path: path, at: at, f: f, zip: zip, tar: tar.NewWriter(zip)}, nil
}

// fileName makes of what an agent calls itself the name of a file.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 64)]
}

// put adds a file.
func (b *bundle) put(name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	head := &tar.Header{Name: path.Join(b.name, name), Mode: 0o600, Size: int64(len(data)), ModTime: b.at, Format: tar.FormatPAX}
	if err := b.tar.WriteHeader(head); err != nil {
		return err
	}
	_, err := b.tar.Write(data)
	b.files++
	return err
}

// note remembers what could not be had; nil is no error.
func (b *bundle) note(name string, err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, fmt.Sprintf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " ")))
}

// close adds what could not be had, and gives the archive its name.
func (b *bundle) close() (size int64, err error) {
	text := "Everything that was asked for is here.\n"
	if len(b.errs) > 0 {
		text = strings.Join(b.errs, "\n") + "\n"
	}
	err = errors.Join(b.put("errors.txt", []byte(text)), b.tar.Close(), b.zip.Close())
	if info, serr := b.f.Stat(); serr == nil {
		size = info.Size()
	}
	if err = errors.Join(err, b.f.Close()); err == nil {
		err = os.Rename(b.f.Name(), b.path)
	}
	return size, err
}

// discard removes what was written so far.
func (b *bundle) discard() error {
	return errors.Join(b.f.Close(), os.Remove(b.f.Name()))
}

// redacted stands for what is secret.
const redacted = "(redacted)"

// secretName matches names of what is secret.
func secretName() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(passw|secret|token|credential|api_?key|private_?key|access_?key|auth|encrypt)`)
}

// redactedJSON is a value as indented JSON, with the values of environment variables and of whatever is called like a secret
// replaced.
func redactedJSON(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // times in nanoseconds have more digits than a float keeps
	if err := dec.Decode(&plain); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(redact(plain, secretName(), false), "", "  ")
	return append(out, '\n'), err
}

// redact replaces in a JSON value; all says that every string in it is secret.
func redact(v any, secret *regexp.Regexp, all bool) any {
	switch v := v.(type) {
	case string:
		if all && v != "" {
			return redacted
		}
	case []any:
		for i := range v {
			v[i] = redact(v[i], secret, all)
		}
	case map[string]any:
		for k := range v {
			v[k] = redact(v[k], secret, all || k == "Env" || secret.MatchString(k))
		}
	}
	return v
}
