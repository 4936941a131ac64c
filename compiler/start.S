/* start.S: where a linked program begins. The kernel leaves argc and argv on the
 * stack and, in rdx, what the dynamic linker wants called at exit; libc does the
 * rest and calls main. It stands for the crt files of a C compiler, so that a
 * program can be linked where there is none. */
    .globl _start
    .type _start, @function
_start:
    endbr64
    xor %ebp, %ebp
    mov %rdx, %r9                       /* rtld_fini */
    pop %rsi                            /* argc */
    mov %rsp, %rdx                      /* argv */
    and $-16, %rsp
    push %rax
    push %rsp                           /* stack_end */
    xor %r8d, %r8d                      /* no fini, no init: libc runs the arrays */
    xor %ecx, %ecx
    mov main@GOTPCREL(%rip), %rdi
    call *__libc_start_main@GOTPCREL(%rip)
    hlt
    .size _start, . - _start
    .section .note.GNU-stack, "", @progbits
