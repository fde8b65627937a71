package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// errDeclined ends a command whose question was not answered with yes.
var errDeclined = errors.New("nothing more is done: the answer was not yes")

// confirm asks a question that has to be answered with yes. Where nobody can answer, the command has to be told --yes.
func (a *app) confirm(in *bufio.Reader, question string) error {
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	line, err := in.ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(a.err)
		return errors.New("nobody is there to answer: give --yes where no question is wanted")
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}
