package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/state"
)

// jobFile is a job file on the command line with its variables.
type jobFile struct {
	vars     []string
	varFiles []string
	strict   bool
}

func (f *jobFile) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "value of a variable, name=value (repeat for more)")
	cmd.Flags().StringArrayVar(&f.varFiles, "var-file", nil, "file with values of variables (repeat for more)")
	cmd.Flags().BoolVar(&f.strict, "hcl2-strict", true, "refuse values of variables that the file does not declare")
}

// parse reads a job file, "-" for the standard input, and prints what there is to say about it.
func (f *jobFile) parse(a *app, path string) (*state.Job, error) {
	src, dir, err := readSource(a.in, path)
	if err != nil {
		return nil, err
	}
	in := jobspecs.Inputs{Vars: f.vars, Env: os.Environ(), Strict: f.strict, BaseDir: dir}
	for _, name := range f.varFiles {
		data, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		in.VarFiles = append(in.VarFiles, jobspecs.Source{Name: name, Data: data})
	}
	job, diags := jobspecs.Parse(src, in)
	if len(diags) > 0 {
		if err := diags.WriteTo(a.err, a.colored(), 100); err != nil {
			return nil, err
		}
	}
	if diags.HasErrors() {
		return nil, exitCode(1)
	}
	return job, nil
}

func readSource(in io.Reader, path string) (src jobspecs.Source, dir string, err error) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(in, jobspecs.MaxSource+1))
		return jobspecs.Source{Name: "<stdin>", Data: data}, ".", err
	}
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		return src, "", fmt.Errorf("read %s: job files are read from disk or, with -, from the standard input: `curl %s | drover job run -`", path, path)
	}
	data, err := readBounded(path)
	if os.IsNotExist(err) {
		return src, "", fmt.Errorf("%w; `drover job init` writes an example", err)
	}
	return jobspecs.Source{Name: path, Data: data}, filepath.Dir(path), err
}

// readBounded reads a file, one byte more than a job file may have, so that the parser can say that it is too large.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, jobspecs.MaxSource+1))
}

func newJobInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "init [file]",
		Short:   "Write an example job file",
		Example: "  drover job init\n  drover job init web.nomad.hcl",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := "hello.nomad.hcl"
			if len(args) == 1 {
				path = args[0]
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if os.IsExist(err) {
				return fmt.Errorf("%s exists already; name another file: drover job init web.nomad.hcl", path)
			}
			if err != nil {
				return err
			}
			if _, err := f.Write(jobspecs.Example()); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Wrote %s. Run it with:\n  drover job run %s\n", path, path)
			return nil
		},
	}
}

func newJobValidate(a *app) *cobra.Command {
	var f jobFile
	cmd := &cobra.Command{
		Use:     "validate <file>",
		Short:   "Check a job file without asking an agent",
		Example: "  drover job validate hello.nomad.hcl\n  cat hello.nomad.hcl | drover job validate -",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			job, err := f.parse(a, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Job %q is valid: %d groups, %d copies in all.\n", job.ID, len(job.TaskGroups), copies(job))
			return nil
		},
	}
	f.addFlags(cmd)
	return cmd
}

func copies(job *state.Job) int {
	n := 0
	for _, g := range job.TaskGroups {
		n += g.Count
	}
	return n
}
