package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/spf13/cobra"

	"github.com/drover-io/drover/jobspecs"
)

// fmtOptions are the flags of `fmt`.
type fmtOptions struct {
	check, list, write, recursive bool
}

func newFmt(a *app) *cobra.Command {
	var o fmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [path]...",
		Short: "Format job files and configuration files",
		Long: `Format files in HCL (*.hcl, *.nomad): indentation and the alignment of what belongs together. Directories stand for the files in them,
- for the standard input, which goes to the standard output; without a path it is the current directory.

Exit code 0: done. 1: an error, or with --check a file that would change.`,
		Example:     "  drover fmt\n  drover fmt --check --recursive jobs/\n  drover fmt - < hello.nomad.hcl",
		SuggestFor:  []string{"format"},
		GroupID:     groupOther,
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 1000),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			return o.run(a, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.check, "check", false, "change nothing; exit code 1 when a file would change")
	fs.BoolVar(&o.list, "list", true, "name the files that are changed")
	fs.BoolVar(&o.write, "write", true, "write to the files; false prints them instead")
	fs.BoolVarP(&o.recursive, "recursive", "R", false, "directories below too")
	return cmd
}

func (o fmtOptions) run(a *app, paths []string) error {
	changed := 0
	var failed []error
	for _, path := range paths {
		files, err := o.files(path)
		if err != nil {
			return err
		}
		for _, file := range files {
			differs, err := o.one(a, file)
			if err != nil {
				failed = append(failed, err)
			}
			if differs {
				changed++
			}
		}
	}
	switch {
	case len(failed) > 0:
		return errors.Join(failed...)
	case o.check && changed > 0:
		return exitCode(exitError)
	}
	return nil
}

// files are the files that a path stands for.
func (o fmtOptions) files(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != path && (!o.recursive || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case !d.IsDir() && (filepath.Ext(p) == ".hcl" || filepath.Ext(p) == ".nomad"):
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// read reads a file, or the standard input, and checks that it is HCL.
func (o fmtOptions) read(a *app, path string) ([]byte, error) {
	name := path
	var data []byte
	var err error
	if path == "-" {
		name = "<stdin>"
		data, err = io.ReadAll(io.LimitReader(a.in, jobspecs.MaxSource+1))
	} else {
		data, err = readBounded(path)
	}
	if err != nil {
		return nil, err
	}
	if len(data) > jobspecs.MaxSource {
		return nil, fmt.Errorf("format %s: it has more than %d bytes", name, jobspecs.MaxSource)
	}
	if _, diags := hclsyntax.ParseConfig(data, name, hcl.InitialPos); diags.HasErrors() {
		d := diags[0]
		return nil, fmt.Errorf("format %s:%d:%d: %s: %s", name, d.Subject.Start.Line, d.Subject.Start.Column, strings.ToLower(d.Summary), d.Detail)
	}
	return data, nil
}

// one formats a file, and reports whether that changes it.
func (o fmtOptions) one(a *app, path string) (bool, error) {
	data, err := o.read(a, path)
	if err != nil {
		return false, err
	}
	out := hclwrite.Format(data)
	differs := !bytes.Equal(out, data)
	switch {
	case !o.check && (path == "-" || !o.write):
		_, err = a.out.Write(out)
	case differs && o.list && path != "-":
		_, err = fmt.Fprintln(a.out, path)
	}
	if err == nil && differs && !o.check && o.write && path != "-" {
		err = overwrite(path, out)
	}
	return differs, err
}

// overwrite replaces a file's content and keeps its mode. It follows a link, as an editor does.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
