package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
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
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "value of a variable, `name=value` (repeat for more)")
	cmd.Flags().StringArrayVar(&f.varFiles, "var-file", nil, "`file` with values of variables (repeat for more)")
	cmd.Flags().BoolVar(&f.strict, "hcl2-strict", true, "refuse values of variables that the file does not declare")
}

// parse reads a job file, "-" for the standard input, and prints what there is to say about it.
func (f *jobFile) parse(a *app, path string) (*state.Job, error) {
	src, dir, err := readSource(a.in, path)
	if err != nil {
		return nil, err
	}
	in := jobspecs.Inputs{Vars: f.vars, Env: os.Environ(), Strict: f.strict, BaseDir: dir, Check: agent.CheckJob}
	for _, name := range f.varFiles {
		data, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		in.VarFiles = append(in.VarFiles, jobspecs.Source{Name: name, Data: data})
	}
	job, diags := jobspecs.Parse(src, in)
	if len(diags) > 0 {
		if err := diags.WriteTo(a.err, a.colored(a.err), 100); err != nil {
			return nil, err
		}
	}
	if diags.HasErrors() {
		return nil, exitCode(exitError)
	}
	return job, settle(job, a.inNamespace())
}

// settle puts a job into the namespace that the user named.
func settle(job *state.Job, namespace string) error {
	switch {
	case namespace == "" || namespace == job.Namespace:
	case namespace == api.AllNamespaces:
		return errors.New("--namespace '*' is for lists: name the one namespace that the job goes to")
	case job.Namespace == api.DefaultNamespace: // what the file says, or does not say
		job.Namespace = namespace
	default:
		return fmt.Errorf("the file puts job %q into namespace %q, the command line into %q: change one of them", job.ID, job.Namespace, namespace)
	}
	return nil
}

// arguments are what a command line repeats to read the same job.
func (f *jobFile) arguments() []string {
	var out []string
	for _, name := range f.varFiles {
		out = append(out, "-var-file", quote(name))
	}
	for _, v := range f.vars {
		out = append(out, "-var", quote(v))
	}
	if !f.strict {
		out = append(out, "-hcl2-strict=false")
	}
	return out
}

// quote makes a word safe to paste into a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
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
		Use:         "init [file]",
		Short:       "Write an example job file",
		Example:     "  drover job init\n  drover job init web.nomad.hcl",
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 1),
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
	var s shape
	cmd := &cobra.Command{
		Use:         "validate <file>",
		Short:       "Check a job file without asking an agent",
		Example:     "  drover job validate hello.nomad.hcl\n  cat hello.nomad.hcl | drover job validate -\n  drover job validate --json hello.nomad.hcl   # the job as it is stored",
		SuggestFor:  []string{"check", "lint"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			job, err := f.parse(a, args[0])
			if err != nil {
				return err
			}
			return s.print(a.out, job, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "Job %q is valid: %s, %s in all.\n", job.ID, plural(len(job.TaskGroups), "group"), plural(copies(job), "copy"))
				return err
			})
		},
	}
	f.addFlags(cmd)
	s.addFlags(cmd)
	return cmd
}

func copies(job *state.Job) int {
	n := 0
	for _, g := range job.TaskGroups {
		n += g.Count
	}
	return n
}
