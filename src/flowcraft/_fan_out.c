/* Fan-out: the same bytes to many sockets, in one call.
 *
 * `flowcraft.fan_out` explains what this does and has the same in Python; it is used wherever this module does
 * not load. Per recipient there are a dictionary lookup, two comparisons and the system call send(2), and no
 * bytecode. Everything that can go wrong takes the long way, in Python: a descriptor of -1, a send that takes a
 * part, would block, is interrupted or fails. No function here keeps a reference to its arguments.
 *
 * Which descriptor a byte goes to: `Target.fd` is read immediately before each send, while the GIL is held, and
 * is set to -1 by the code that learns of a socket's end, before the event loop closes the socket. Nothing here
 * runs Python code between the read and the send, so no descriptor can be closed, and its number be used again,
 * in between.
 *
 * Only the limited API of Python 3.11 (PEP 384): one wheel for every later version.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifndef MSG_NOSIGNAL /* macOS; Python ignores SIGPIPE */
#define MSG_NOSIGNAL 0
#endif

typedef struct {
    PyObject_HEAD
    int fd;
    char held;
    long long sent;
    PyObject *framing;
} Target;

typedef struct {
    PyTypeObject *target;
} State;

static int target_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Target *)self)->framing);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int target_clear(PyObject *self) {
    Py_CLEAR(((Target *)self)->framing);
    return 0;
}

static void target_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    target_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *target_new(PyTypeObject *type, PyObject *args, PyObject *named) {
    (void)args, (void)named; /* those of a subclass's __init__ */
    PyObject *self = ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        ((Target *)self)->fd = -1;
        ((Target *)self)->framing = Py_NewRef(Py_None);
    }
    return self;
}

static PyMemberDef target_members[] = {
    {"fd", T_INT, offsetof(Target, fd), 0, "The descriptor that bytes may go to at once, else -1."},
    {"held", T_BOOL, offsetof(Target, held), 0, "Whether nothing may be sent now: earlier messages wait."},
    {"sent", T_LONGLONG, offsetof(Target, sent), 0, "Events sent."},
    {"framing", T_OBJECT_EX, offsetof(Target, framing), 0, "The key of this target's bytes in `framed`."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot target_slots[] = {
    {Py_tp_doc, "One socket among those that `send_all` sends to."},
    {Py_tp_new, target_new},
    {Py_tp_dealloc, target_dealloc},
    {Py_tp_traverse, target_traverse},
    {Py_tp_clear, target_clear},
    {Py_tp_members, target_members},
    {0, NULL},
};

static PyType_Spec target_spec = {
    .name = "flowcraft._fan_out.Target",
    .basicsize = sizeof(Target),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = target_slots,
};

static int may_send(const Target *target) { return target->fd >= 0 && !target->held; }

/* Append (session, taken) to `rest`; 0, or -1 with an exception. */
static int add_rest(PyObject *rest, PyObject *session, Py_ssize_t taken) {
    PyObject *pair = Py_BuildValue("(On)", session, taken);
    int failed = pair == NULL || PyList_Append(rest, pair) < 0;
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

/* send_all(targets: dict, to: tuple, framed: dict, events: int) -> list of (session, bytes taken) */
static PyObject *send_all(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    State *state = PyModule_GetState(self);
    PyObject *known = NULL, *bytes = NULL; /* the framing of the last target and its bytes: most have the same */
    char *data = NULL;
    Py_ssize_t size = 0;

    if (count != 4 || !PyDict_Check(args[0]) || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send_all takes a dict, a tuple, a mapping and an int");
        return NULL;
    }
    PyObject *targets = args[0], *to = args[1], *framed = args[2];
    long long events = PyLong_AsLongLong(args[3]);
    if (events == -1 && PyErr_Occurred())
        return NULL;
    PyObject *rest = PyList_New(0);
    if (rest == NULL)
        return NULL;

    Py_ssize_t recipients = PyTuple_Size(to);
    for (Py_ssize_t n = 0; n < recipients; n++) {
        PyObject *session = PyTuple_GetItem(to, n);
        PyObject *found = PyDict_GetItemWithError(targets, session);
        if (found == NULL) {
            if (PyErr_Occurred())
                goto error;
            continue; /* it has ended */
        }
        if (!PyObject_TypeCheck(found, state->target)) {
            PyErr_SetString(PyExc_TypeError, "the values of targets must be Target");
            goto error;
        }
        Py_INCREF(found); /* a framing may run any Python code, and that may end the connection */
        Target *target = (Target *)found;
        if (may_send(target) && target->framing != NULL && target->framing != known) {
            PyObject *framing = Py_NewRef(target->framing);
            Py_XDECREF(bytes);
            bytes = PyObject_GetItem(framed, framing);
            known = framing; /* alive as long as `framed` has it as a key */
            if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &data, &size) < 0) {
                PyErr_Clear(); /* the long way meets it again, for this session alone */
                Py_CLEAR(bytes);
                known = NULL;
            }
            Py_DECREF(framing);
        }
        Py_ssize_t taken = -1;
        if (may_send(target) && known != NULL && target->framing == known)
            taken = send(target->fd, data, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        int failed = 0;
        if (taken >= 0 && taken == size)
            target->sent += events;
        else
            failed = add_rest(rest, session, taken < 0 ? 0 : taken);
        Py_DECREF(found);
        if (failed)
            goto error;
    }
    Py_XDECREF(bytes);
    return rest;

error:
    Py_XDECREF(bytes);
    Py_DECREF(rest);
    return NULL;
}

static PyMethodDef functions[] = {
    {"send_all", (PyCFunction)(void (*)(void))send_all, METH_FASTCALL, "See flowcraft.fan_out.send_all."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *self) {
    State *state = PyModule_GetState(self);
    state->target = (PyTypeObject *)PyType_FromModuleAndSpec(self, &target_spec, NULL);
    return state->target == NULL ? -1 : PyModule_AddType(self, state->target);
}

static int module_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((State *)PyModule_GetState(self))->target);
    return 0;
}

static int module_clear(PyObject *self) {
    Py_CLEAR(((State *)PyModule_GetState(self))->target);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "flowcraft._fan_out",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__fan_out(void) { return PyModuleDef_Init(&module); }
