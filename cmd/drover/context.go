package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

func newContext(a *app) *cobra.Command {
	cmd := noun("context", "Name clusters, and choose the one that commands ask",
		"  drover context set prod --address http://10.0.0.1:4646 --namespace shop\n  drover context use prod\n  drover --context test job status",
		newContextList(a), newContextUse(a), newContextSet(a), newContextShow(a), newContextDelete(a))
	cmd.Long = `Name clusters, and choose the one that commands ask.

A context is an address with, where wanted, a token, a namespace and a region, in a file of its own under ~/.config/drover/contexts that
only you can read. What flags and environment say goes before the context; a context's token is sent to the context's address only.`
	return habits(cmd, "contexts", "ctx", "config", "cluster", "profile")
}

// contextView is a context as it is shown. The token is not.
type contextView struct {
	Name      string
	Current   bool
	Address   string
	Namespace string
	Region    string
	HasToken  bool
}

func viewContext(c savedContext, current string) contextView {
	return contextView{
		Name: c.Name, Current: c.Name == current, Address: c.Address, Namespace: c.Namespace, Region: c.Region, HasToken: c.Token != "",
	}
}

func newContextList(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:         "list",
		Short:       "List the contexts",
		Example:     "  drover context list",
		SuggestFor:  []string{"ls", "status", "get-contexts"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			names, err := a.contextNames()
			if err != nil {
				return err
			}
			current, err := a.nameInUse()
			if err != nil {
				return err
			}
			var views []contextView
			for _, name := range names {
				c, err := a.readContext(name)
				if err != nil {
					return err
				}
				views = append(views, viewContext(c, current))
			}
			return printList(a.out, s, list[contextView]{
				items: views, name: func(c contextView) string { return c.Name },
				empty: "No contexts. `drover context set NAME --address http://…` makes one.",
				columns: []column[contextView]{
					{head: "Current", cell: func(c contextView) string { return mark(c.Current) }},
					{head: "Name", cell: func(c contextView) string { return c.Name }},
					{head: "Address", cell: func(c contextView) string { return orDash(c.Address) }},
					{head: "Namespace", cell: func(c contextView) string { return orDash(c.Namespace) }},
					{head: "Region", cell: func(c contextView) string { return orDash(c.Region) }},
					{head: "Token", cell: func(c contextView) string { return yesNo(c.HasToken) }},
				},
			})
		},
	}
	s.addFlags(cmd)
	return cmd
}

func mark(yes bool) string {
	if yes {
		return "*"
	}
	return ""
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func newContextUse(a *app) *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use:         "use <context>",
		Short:       "Choose the context that commands take from now on",
		Example:     "  drover context use prod\n  drover context use --none   # ask the agent on this machine again",
		SuggestFor:  []string{"use-context", "switch", "select"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if none == (len(args) == 1) {
				return errors.New("name a context, or say --none\n  `drover context list` lists them")
			}
			if none {
				if err := a.setCurrentContext(""); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, "No context is in use now.")
				return err
			}
			c, err := a.readContext(args[0])
			if err != nil {
				return err
			}
			if err := a.setCurrentContext(c.Name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "Commands ask %s now (context %s).\n", orElse(c.Address, api.DefaultAddr), c.Name)
			return err
		},
		ValidArgsFunction: a.completeContexts,
	}
	cmd.Flags().BoolVar(&none, "none", false, "no context any more")
	return cmd
}

func newContextSet(a *app) *cobra.Command {
	var use bool
	cmd := &cobra.Command{
		Use:   "set <context>",
		Short: "Make a context, or change one",
		Long: `Make a context, or change what the flags --address, --namespace, --region and --token name of one. An empty value takes it out.
"--token -" reads the token from the standard input, where no list of processes shows it.`,
		Example:     "  drover context set prod --address http://10.0.0.1:4646\n  drover context set prod --namespace shop --use\n  drover context set prod --token - < token.txt",
		SuggestFor:  []string{"add", "create", "new", "set-context"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.setContext(cmd, args[0], use)
		},
		ValidArgsFunction: a.completeContexts,
	}
	cmd.Flags().BoolVar(&use, "use", false, "take it from now on")
	return cmd
}

func (a *app) setContext(cmd *cobra.Command, name string, use bool) error {
	path, err := a.contextPath(name)
	if err != nil {
		return err
	}
	c := savedContext{Name: name}
	if _, err := os.Stat(path); err == nil {
		if c, err = a.readContext(name); err != nil {
			return err
		}
	}
	changed, err := a.changeContext(cmd, &c)
	if err != nil {
		return err
	}
	if !changed && !use {
		return fmt.Errorf("nothing to set: give --address, --namespace, --region or --token\n  `%s --help` has examples", cmd.CommandPath())
	}
	if _, err := api.New(api.Config{Addr: c.Address}); err != nil {
		return err
	}
	if err := a.writeContext(c); err != nil {
		return fmt.Errorf("write context %s: %w", name, err)
	}
	if use {
		if err := a.setCurrentContext(name); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "Context %s is set.\n", name)
	if current, err := a.nameInUse(); err == nil && current != name {
		fmt.Fprintf(a.out, "  drover context use %s   takes it from now on\n", name)
	}
	return nil
}

// changeContext takes over what the flags say, and reports whether they say anything.
func (a *app) changeContext(cmd *cobra.Command, c *savedContext) (changed bool, err error) {
	if a.token == "-" {
		data, err := io.ReadAll(io.LimitReader(a.in, maxContextFile))
		if err != nil {
			return false, fmt.Errorf("read the token: %w", err)
		}
		a.token = firstLine(string(data))
	}
	for flag, field := range map[string]*string{"address": &c.Address, "namespace": &c.Namespace, "region": &c.Region, "token": &c.Token} {
		if f := cmd.Flags().Lookup(flag); f != nil && f.Changed {
			changed = true
			*field = f.Value.String()
		}
	}
	return changed, nil
}

func newContextShow(a *app) *cobra.Command {
	var s shape
	cmd := &cobra.Command{
		Use:         "show [context]",
		Short:       "Show a context, by default the one in use",
		Example:     "  drover context show\n  drover context show prod",
		SuggestFor:  []string{"get", "inspect", "current", "current-context"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			current, err := a.nameInUse()
			if err != nil {
				return err
			}
			name := current
			if len(args) == 1 {
				name = args[0]
			}
			if name == "" {
				return errors.New("no context is in use\n  `drover context list` lists them, `drover context use NAME` chooses one")
			}
			c, err := a.readContext(name)
			if err != nil {
				return err
			}
			v := viewContext(c, current)
			return s.printNamed(a.out, v, v.Name, func(w io.Writer) error {
				return facts(w, "Name", v.Name, "In Use", yesNo(v.Current), "Address", orDash(v.Address), "Namespace", orDash(v.Namespace),
					"Region", orDash(v.Region), "Token", yesNo(v.HasToken))
			})
		},
		ValidArgsFunction: a.completeContexts,
	}
	s.addFlags(cmd)
	return cmd
}

func newContextDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "delete <context>",
		Short:       "Forget a context",
		Example:     "  drover context delete test",
		SuggestFor:  []string{"rm", "remove", "unset"},
		Annotations: map[string]string{offline: "true"},
		Args:        arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := a.contextPath(args[0])
			if err != nil {
				return err
			}
			if err := os.Remove(path); errors.Is(err, os.ErrNotExist) {
				return a.noContext(args[0])
			} else if err != nil {
				return err
			}
			current, err := a.currentContext()
			if err == nil && current == args[0] {
				err = a.setCurrentContext("")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "Context %s is forgotten.\n", args[0])
			return err
		},
		ValidArgsFunction: a.completeContexts,
	}
}
