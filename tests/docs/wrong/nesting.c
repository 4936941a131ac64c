/* nesting.c: one loop too deep. */
static void deep(int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int k = 0; k < n; k++)
                if (i == j)
                    n--;
}
