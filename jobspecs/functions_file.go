package jobspecs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// maxFiles bounds what fileset returns and looks at.
const maxFiles = 10_000

var errNoFiles = errors.New("files can be read only where the job file is parsed on the command line")

// disk reads the files that a job file names. It works for whoever runs the command line, with that user's rights.
type disk struct{ base string }

// path returns a path as the job file means it: relative ones start at the base directory, "~" is the home directory.
func (d disk) path(p string) (string, error) {
	if d.base == "" {
		return "", errNoFiles
	}
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		return filepath.Join(home, rest), nil
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(d.base, p)
	}
	return filepath.Clean(p), nil
}

// read returns a regular file of at most MaxSource bytes. Others, such as pipes, could block for ever.
func (d disk) read(p string) ([]byte, error) {
	path, err := d.path(p)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, MaxSource+1))
	if err == nil && len(data) > MaxSource {
		err = fmt.Errorf("%s has more than %d bytes", path, MaxSource)
	}
	return data, err
}

func fileFunctions(base string, ev *evaluator, all map[string]function.Function) map[string]function.Function {
	d := disk{base}
	pathOnly := func(f func(string) string) function.Function {
		return textFunction("path", func(a []string) (string, error) { return f(a[0]), nil })
	}
	return map[string]function.Function{
		"basename": pathOnly(filepath.Base),
		"dirname":  pathOnly(filepath.Dir),
		"abspath":  textFunction("path", func(a []string) (string, error) { return d.path(a[0]) }),
		"pathexpand": textFunction("path", func(a []string) (string, error) {
			if strings.HasPrefix(a[0], "~") {
				return d.path(a[0])
			}
			return a[0], nil
		}),
		"file": textFunction("path", func(a []string) (string, error) {
			data, err := d.read(a[0])
			if err == nil && !utf8.Valid(data) {
				err = errors.New("the file is not UTF-8 text; use filebase64")
			}
			return string(data), err
		}),
		"filebase64": textFunction("path", func(a []string) (string, error) {
			data, err := d.read(a[0])
			return base64.StdEncoding.EncodeToString(data), err
		}),
		"fileexists":   d.existsFunction(),
		"fileset":      d.setFunction(),
		"templatefile": d.templateFunction(ev, all),
	}
}

func (d disk) existsFunction() function.Function {
	return function.New(&function.Spec{
		Params: stringParams("path"),
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path, err := d.path(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.Bool), err
			}
			info, err := os.Stat(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return cty.UnknownVal(cty.Bool), err
			}
			return cty.BoolVal(err == nil && info.Mode().IsRegular()), nil
		},
	})
}

// setFunction lists the files below a directory whose relative path matches a pattern; "**" stands for any number of directories.
func (d disk) setFunction() function.Function {
	return function.New(&function.Spec{
		Params: stringParams("path pattern"),
		Type:   function.StaticReturnType(cty.Set(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			names, err := d.list(args[0].AsString(), args[1].AsString())
			switch {
			case err != nil:
				return cty.UnknownVal(cty.Set(cty.String)), err
			case len(names) == 0:
				return cty.SetValEmpty(cty.String), nil
			}
			vals := make([]cty.Value, len(names))
			for i, n := range names {
				vals[i] = cty.StringVal(n)
			}
			return cty.SetVal(vals), nil
		},
	})
}

func (d disk) list(dir, pattern string) ([]string, error) {
	root, err := d.path(dir)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(filepath.ToSlash(pattern), "/")
	if _, err := filepath.Match(pattern, ""); err != nil || len(parts) > 16 {
		return nil, fmt.Errorf("%q is not a pattern", cut(pattern))
	}
	var names []string
	looked := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if looked++; looked > maxFiles {
			return fmt.Errorf("there are more than %d files below %s", maxFiles, root)
		}
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err == nil && matchPath(parts, strings.Split(filepath.ToSlash(rel), "/")) {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	return names, err
}

// matchPath matches a path against a pattern part by part.
func matchPath(pattern, path []string) bool {
	if len(pattern) == 0 {
		return len(path) == 0
	}
	if pattern[0] == "**" {
		return matchPath(pattern[1:], path) || len(path) > 0 && matchPath(pattern, path[1:])
	}
	if len(path) == 0 {
		return false
	}
	ok, _ := filepath.Match(pattern[0], path[0])
	return ok && matchPath(pattern[1:], path[1:])
}

// templateFunction renders a file with the given names. A template may call every function but templatefile.
func (d disk) templateFunction(ev *evaluator, all map[string]function.Function) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			data, err := d.read(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			ty := args[1].Type()
			if !ty.IsObjectType() && !ty.IsMapType() {
				return cty.UnknownVal(cty.String), errors.New("the second argument must be a map of the template's names")
			}
			without := maps.Clone(all)
			delete(without, "templatefile")
			return ev.template(args[0].AsString(), data, &hcl.EvalContext{Functions: without, Variables: args[1].AsValueMap()})
		},
	})
}

// template renders text. Its errors carry their own place, because they are inside another file.
func (ev *evaluator) template(name string, data []byte, ctx *hcl.EvalContext) (cty.Value, error) {
	failed := cty.UnknownVal(cty.String)
	tokens, _ := hclsyntax.LexTemplate(data, name, hcl.InitialPos)
	if at, message := checkHCL(tokens); message != "" {
		return failed, fmt.Errorf("%s: %s", at, message)
	}
	expr, diags := hclsyntax.ParseTemplate(data, name, hcl.InitialPos)
	if diags.HasErrors() {
		return failed, diags
	}
	if ctx.Variables == nil {
		ctx.Variables = map[string]cty.Value{}
	}
	inner := &evaluator{collector: newCollector(), meter: ev.meter, warnedOf: map[string]bool{}, known: map[string][]string{}}
	inner.files[name] = data
	inner.meter.watch(expr)
	v, ok := inner.eval(expr, ctx)
	if !ok {
		return failed, errors.New(inner.take().Error())
	}
	p, err := plain(v)
	if err != nil {
		return failed, err
	}
	s, err := toString(p)
	return cty.StringVal(s), err
}
