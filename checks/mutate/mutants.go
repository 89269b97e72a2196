//go:build unix

package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// mutant is one small breakage: a text that replaces a part of a file.
type mutant struct {
	id   int    // its number among those of its module, from 1 on
	file string // from the root of the repository
	line int
	// function and context are the function and the line that it is in.
	function, context string
	// nth counts the breakages of the function that look like this one.
	nth int
	// start and end are byte offsets.
	start, end int
	old, text  string
	// switched are the edits that break the file only if the variable MUTANT of
	// the environment is id. nil means that there are none, such as in a
	// constant.
	switched []edit
}

// edit replaces a part of a file.
type edit struct {
	start, end int
	text       string
	// closes reports that the edit is the end of a pair.
	closes bool
}

// name identifies a mutant as long as its line does not change. The line may
// move.
func (m *mutant) name() string {
	name := fmt.Sprintf("%s: %s: %s: %q becomes %q", m.file, m.function, m.context, m.old, m.text)
	if m.nth > 1 {
		name += fmt.Sprintf(" (%d)", m.nth)
	}
	return name
}

// apply returns the broken file.
func (m *mutant) apply(source []byte) []byte {
	return apply(source, []edit{{m.start, m.end, m.text, false}})
}

// apply makes edits. Those of nested nodes come after those of the node around
// them. At one offset, inner pairs end first, and then others begin.
func apply(source []byte, edits []edit) (result []byte) {
	order := make([]int, len(edits))
	for i, e := range edits {
		order[i] = i
		if e.closes {
			order[i] = -i
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(edits[max(a, -a)].start-edits[max(b, -b)].start, a-b)
	})
	done := 0
	for _, i := range order {
		e := edits[max(i, -i)]
		result = append(append(result, source[done:e.start]...), e.text...)
		done = e.end
	}
	return append(result, source[done:]...)
}

var (
	operators = map[token.Token]string{
		token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">", token.EQL: "!=", token.NEQ: "==",
		token.LAND: "||", token.LOR: "&&", token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*",
		token.REM: "*",
		token.SHL: ">>", token.SHR: "<<", token.AND: "|", token.OR: "&",
	}
	turned = map[token.Token]string{token.INC: "--", token.DEC: "++", token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+="}
	// functions are those of runtime.go.txt.
	functions = map[token.Token]string{
		token.LSS: "Less", token.LEQ: "LessEqual", token.GTR: "Greater", token.GEQ: "GreaterEqual",
		token.ADD: "Add", token.SUB: "Sub", token.MUL: "Mul", token.QUO: "Quo", token.REM: "Rem",
		token.SHL: "Shl", token.SHR: "Shr", token.AND: "And", token.OR: "Or",
	}
)

// finder finds the breakages of a file, in the order of the file. Some do not
// compile.
type finder struct {
	file    string
	source  []byte
	set     *token.FileSet
	info    *types.Info
	local   *types.Package
	parents []ast.Node
	found   []*mutant
	// next is the id of the next mutant.
	next int
	seen map[string]int
}

func (f *finder) find(tree *ast.File) {
	f.seen = make(map[string]int)
	ast.Inspect(tree, func(node ast.Node) bool {
		switch node.(type) {
		case nil:
			f.parents = f.parents[:len(f.parents)-1]
			return true
		case *ast.ImportSpec, *ast.Field: // types and tags
			return false
		}
		f.visit(node)
		f.parents = append(f.parents, node)
		return true
	})
}

func (f *finder) visit(node ast.Node) {
	switch n := node.(type) {
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			f.add(n.OpPos, n.OpPos+1, "", f.around(n, "((", ") != mutateOn(#))"))
		}
	case *ast.BasicLit:
		if n.Kind == token.INT {
			f.replace(n, "("+n.Value+"+1)", f.call("mutateOneMore", n, n, ""))
		}
	case *ast.Ident:
		switch n.Name {
		case "true":
			f.replace(n, "false", f.around(n, "(!mutateOn(#)||false && ", ")"))
		case "false":
			f.replace(n, "true", f.around(n, "(mutateOn(#)||", ")"))
		}
	case *ast.IncDecStmt:
		var edits []edit
		if name, ok := f.typeName(n.X); ok {
			operator := map[token.Token]string{token.INC: "+", token.DEC: "-"}[n.Tok]
			edits = []edit{f.edit(n.TokPos, n.End(), operator+"= mutateNegate["+name+"](#, 1)")}
		}
		f.add(n.TokPos, n.End(), turned[n.Tok], edits)
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			f.remove(n)
		}
		if text, ok := turned[n.Tok]; ok {
			var edits []edit
			if !f.isString(n.Lhs[0]) {
				edits = f.call("mutateNegate", n.Rhs[0], n.Lhs[0], "")
			}
			f.add(n.TokPos, n.TokPos+2, text, edits)
		}
	case *ast.ExprStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
		f.remove(node)
	case *ast.BranchStmt:
		if n.Tok == token.BREAK || n.Tok == token.CONTINUE {
			f.remove(n)
		}
	case *ast.ReturnStmt:
		if last := len(n.Results) - 1; last < 0 {
			f.remove(n)
		} else if name, ok := n.Results[last].(*ast.Ident); ok && name.Name == "err" {
			f.replace(name, "nil", f.around(name, "mutateNoError(#, ", ")"))
		}
	case *ast.IfStmt:
		condition := f.text(n.Cond.Pos(), n.Cond.End())
		f.replace(n.Cond, "false && ("+condition+")", f.around(n.Cond, "!mutateOn(#) && (", ")"))
		f.replace(n.Cond, "true || ("+condition+")", f.around(n.Cond, "mutateOn(#) || (", ")"))
	case *ast.CaseClause:
		if len(n.List) > 1 { // one alternative less
			f.add(n.List[0].Pos(), n.List[1].Pos(), "", f.alternative(n))
		}
	}
}

func (f *finder) binary(n *ast.BinaryExpr) {
	text, ok := operators[n.Op]
	if !ok {
		return
	}
	var edits []edit
	switch n.Op {
	case token.EQL, token.NEQ:
		edits = f.around(n, "((", ") != mutateOn(#))")
	case token.LAND, token.LOR: // a || b is !(!a && !b)
		edits = append(f.around(n, "((", ") != mutateOn(#))"), f.around(n.X, "((", ") != mutateOn(#))")...)
		edits = append(edits, f.around(n.Y, "((", ") != mutateOn(#))")...)
	default:
		if !f.isString(n.X) || n.Op != token.ADD {
			edits = f.call("mutate"+functions[n.Op], n, n.X, "")
		}
		if edits != nil {
			edits = append(edits, f.edit(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), ","))
		}
	}
	f.add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), text, edits)
}

// alternative returns the edits that replace the first expression of a clause
// by the second one.
func (f *finder) alternative(n *ast.CaseClause) []edit {
	switch parent := f.parents[len(f.parents)-2].(type) {
	case *ast.SwitchStmt:
		if parent.Tag == nil {
			return f.around(n.List[0], "!mutateOn(#) && (", ")")
		}
		return f.call("mutateChoose", n.List[0], n.List[0], ", "+f.text(n.List[1].Pos(), n.List[1].End()))
	default:
		return nil
	}
}

// remove adds the breakage that removes a statement.
func (f *finder) remove(node ast.Node) {
	var edits []edit
	if f.panics(node) { // it may end its function
		f.replace(node, "_ = 0", nil)
		return
	}
	switch parent := f.parents[len(f.parents)-1].(type) {
	case *ast.BlockStmt, *ast.CaseClause, *ast.LabeledStmt:
		edits = f.around(node, "if !mutateOn(#) { ", " }")
	case *ast.CommClause:
		if parent.Comm != node {
			edits = f.around(node, "if !mutateOn(#) { ", " }")
		}
	}
	f.replace(node, "_ = 0", edits)
}

func (f *finder) panics(node ast.Node) bool {
	statement, _ := node.(*ast.ExprStmt)
	if statement == nil {
		return false
	}
	call, _ := statement.X.(*ast.CallExpr)
	return call != nil && f.text(call.Fun.Pos(), call.Fun.End()) == "panic"
}

// call returns the edits that put a node into a call, with the type of an
// expression and with a last argument. It returns nil if there is no such type.
func (f *finder) call(function string, node ast.Node, typed ast.Expr, last string) []edit {
	name, ok := f.typeName(typed)
	if !ok {
		return nil
	}
	return f.around(node, function+"["+name+"](#, ", last+")")
}

func (f *finder) around(node ast.Node, before, after string) []edit {
	closing := f.edit(node.End(), node.End(), after)
	closing.closes = true
	return []edit{f.edit(node.Pos(), node.Pos(), before), closing}
}

func (f *finder) edit(start, end token.Pos, text string) edit {
	return edit{start: f.offset(start), end: f.offset(end), text: text}
}

func (f *finder) typeName(expr ast.Expr) (name string, ok bool) {
	t := f.info.TypeOf(expr)
	if basic, isBasic := t.(*types.Basic); t == nil || isBasic && basic.Info()&types.IsUntyped != 0 {
		return "", false
	}
	return types.TypeString(t, func(p *types.Package) string {
		if p == f.local {
			return ""
		}
		return p.Name()
	}), true
}

func (f *finder) isString(expr ast.Expr) bool {
	t := f.info.TypeOf(expr)
	if t == nil {
		return false
	}
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsString != 0
}

func (f *finder) offset(pos token.Pos) int { return f.set.Position(pos).Offset }

func (f *finder) text(start, end token.Pos) string {
	return string(f.source[f.offset(start):f.offset(end)])
}

func (f *finder) replace(node ast.Node, text string, edits []edit) {
	f.add(node.Pos(), node.End(), text, edits)
}

func (f *finder) add(start, end token.Pos, text string, edits []edit) {
	m := &mutant{
		id: f.next, file: f.file, line: f.set.Position(start).Line, start: f.offset(start), end: f.offset(end),
		old: f.text(start, end), text: text,
	}
	line, _, _ := strings.Cut(string(f.source[f.offset(start)-f.set.Position(start).Column+1:]), "\n")
	m.context = strings.TrimSpace(line)
	for _, parent := range f.parents {
		switch n := parent.(type) {
		case *ast.FuncDecl:
			m.function = n.Name.Name
			if n.Recv != nil {
				receiver := n.Recv.List[0].Type
				m.function = strings.Trim(f.text(receiver.Pos(), receiver.End()), "*") + "." + m.function
			}
		case *ast.GenDecl:
			m.function = n.Tok.String()
			if n.Tok == token.CONST {
				edits = nil
			}
		case *ast.ArrayType:
			edits = nil
		}
	}
	f.seen[m.name()]++
	m.nth = f.seen[m.name()]
	for i := range edits {
		edits[i].text = strings.ReplaceAll(edits[i].text, "#", strconv.Itoa(m.id))
	}
	m.switched = edits
	f.next++
	f.found = append(f.found, m)
}
